"""Profiled deviances and their derivatives, for one response and for many."""
