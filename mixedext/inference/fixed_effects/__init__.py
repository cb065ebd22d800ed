"""Tests and intervals of the fixed effects."""
