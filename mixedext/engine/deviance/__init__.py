"""The profiled deviance, its gradient and curvature, by kind of model."""
