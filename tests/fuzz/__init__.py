"""Random hostile data and formulas, and random chains of what results can do."""
