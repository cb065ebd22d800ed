"""Least-squares regressions by group."""
