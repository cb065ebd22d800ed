"""Comparison of models: criteria, tables, terms left out."""
