"""Cholesky factors of the blocks: the leading factor, tails dense and sparse, triangles."""
