"""Generalized models: conditional modes, Laplace and quadrature deviances, their search."""
