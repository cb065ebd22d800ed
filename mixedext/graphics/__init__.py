"""Drawings of what the questions have computed; the only importer of matplotlib.

``figures`` is what all plots stand on.  Modules that draw frames know no results; those
that ask results for numbers stand above the questions, and ``tests/test_imports.py``
names them.
"""
