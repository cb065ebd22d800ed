"""From starting values to the minimum of the deviance, and the verdict on it."""
