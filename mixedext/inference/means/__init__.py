"""Estimated marginal means, trends and contrasts."""
