"""Simulation from a fit: replicates, intervals and tests."""
