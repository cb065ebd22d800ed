"""Information on the variances: observed, expected, its inverse."""
