"""Fits with parameters held or penalized, after statsmodels."""
