"""Covariance structures, a file each, behind one protocol (structure.py).

A new structure is a file with its class and a row in registry.py.
"""
