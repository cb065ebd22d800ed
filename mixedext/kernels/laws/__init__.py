"""Random variables and suprema of exact laws."""
