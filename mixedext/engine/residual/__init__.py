"""Models with a residual covariance: their deviance, information, search and fit."""
