"""Compiled kernels.  Each works on plain arrays and knows no model.

``crossproducts``  one pass over the rows: level blocks of Z'Z, Z'[X y], links
``lead``           the block-diagonal leading factor, level by level
``dense``          LAPACK on the dense tail
``one_factor``     deviance and derivatives of one grouping factor; ``lanes`` its arithmetic
``levels``         levels with the same Z'Z
``newton``         the trust-region search that all models share
``sparse``         Cholesky factor and selected inverse of a sparse tail

``reference`` states the same operations in NumPy; the tests compare the two.
"""
