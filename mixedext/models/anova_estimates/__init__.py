"""Variance components by analysis of variance."""
