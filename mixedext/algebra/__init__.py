"""Symmetric matrices and their roots: definiteness, inverses, triangles.

Each rule is told once.  All are stated on the scale on which the diagonal of the matrix is
one, so that units do not matter; a tolerance is a share of that one.  NumPy only: nothing
here knows a model.
"""
