"""From a formula and a data frame, or from arrays, to y, X and random terms."""
