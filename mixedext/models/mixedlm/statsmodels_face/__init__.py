"""What only statsmodels' interface asks for."""
