"""Passes over rows: integer labels to codes, extremes of the columns of an array."""
