"""Loops of generalized models: the likelihood of rows, modes and quadrature by level."""
