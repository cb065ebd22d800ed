"""From a formula or from arrays to y, X and random terms."""
