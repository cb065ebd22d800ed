"""Covariance structures of random terms, a file each."""
