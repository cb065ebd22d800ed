"""Compiled kernels, the ground floor.  Each works on plain arrays and knows no model.

``rows``      passes over rows and levels: codes, sums by level, moments
``factor``    Cholesky factors: the leading factor level by level, dense and sparse tails
``search``    the trust-region search that all models share
``deviance``  profiled deviances and their derivatives, for one response and for many
``laws``      random variables and suprema of exact laws

They stand on ``triangle`` (Z_l'Z_l = U'D U of one level), ``lanes`` (several levels at a
time) and ``row_major`` (BLAS and LAPACK on C-ordered matrices).  ``reference`` states the
same operations in NumPy, and the tests compare the two.  Tolerances are those of
``mixedext.limits``.

Each argument of an entry says beside it its shape, and whether it comes in, goes out or is
scratch.  Arrays that several entries read together are one record (``factor.layout``); no
entry has more than eight positional arguments.
"""
