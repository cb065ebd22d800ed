"""What is told of a fit: tables, equations, matrices, sentences and pages."""
