"""The profiled deviance and its derivatives, for one response and for many."""
