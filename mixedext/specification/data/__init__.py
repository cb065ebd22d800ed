"""Rows as the user has them: labels, codes, missing values, chunks."""
