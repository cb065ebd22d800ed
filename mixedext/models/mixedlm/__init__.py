"""The linear mixed model and its results."""
