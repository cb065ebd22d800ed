"""The faces of the package: models and results as users see them."""
