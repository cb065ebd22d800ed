"""Families of responses, their links, and the likelihood of rows of them."""
