"""What is left after a fit: residuals."""
