"""Data and power of a study that is not yet made: simulation from given parameters."""
