"""Conditional modes of the random effects and their covariances."""
