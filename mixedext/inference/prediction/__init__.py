"""Predictions: means of rows, known and new."""
