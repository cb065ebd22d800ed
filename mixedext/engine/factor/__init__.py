"""The blocked Cholesky factor and what is read off it."""
