"""Fits of one model to other responses, one or many."""
