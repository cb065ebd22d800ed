"""Searches for the minimum of a deviance, without the GIL."""
