"""Limits of searches and factors that kernels and Python share."""

# The most by which the deviance may still be above its minimum at convergence; this share
# of it, and this many times its rounding error, are allowed, too.
DECREMENT_ACCEPTED = 1e-7
SHARE_ACCEPTED = 1e-12
NOISE_ACCEPTED = 30.0
# A second start is preferred if it ends lower by this,
RESTART_GAIN = 1e-7
# and leaves more than this share of the other's residual variance: where the random effects
# span all rows the deviance may have an infimum at no residual, with variances without end.
LEAST_RESIDUAL = 1e-6
# Other minima are looked for from points where one term has these relative standard
# deviations and the others that, if the deviance there exceeds the lowest minimum found by
# less than the last.
CONCENTRATED, REMAINDER, PROMISING = (1.0, 3.0), 0.1, 5.0
# Singular values of lam (columns of Z at rms 1) below this count as zero.
ZERO_SINGULAR_VALUE = 1e-4
# A deviance higher by this, times the root of its size, is that of the same point rounded.
ROUNDED = 1e-9
# Elements of theta below this are zero where singular values have been made zero.
ZERO_THETA = 1e-12
# Curvature below this share of the largest leaves a direction undetermined.
FLAT_CURVATURE = 1e-10
# Derivatives in Sigma = lam lam' of the tail need lam nonsingular: its singular values
# are kept above this (columns of Z have rms 1).  The deviance moves by the square.
ROOT_FLOOR = 1e-8
# A covariance is inverted while the singular values of its root exceed this, and this
# share of the largest.
ROOT_INVERTIBLE = 1e-4
