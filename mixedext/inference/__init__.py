"""Inference as functions of an engine's Fit: they know no model and no labels."""
