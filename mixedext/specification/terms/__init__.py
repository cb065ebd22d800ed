"""Random terms: codes, columns, names and packing of their parameters."""
