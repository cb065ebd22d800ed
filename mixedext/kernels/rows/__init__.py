"""Passes over rows and levels: codes, sums by level, moments."""
