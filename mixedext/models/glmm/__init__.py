"""Generalized linear mixed models: model, results, summary."""
