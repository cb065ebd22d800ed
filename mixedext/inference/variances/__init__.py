"""Tests and intervals of the variances."""
