"""Passes over rows and levels: sums, codes, moments."""
