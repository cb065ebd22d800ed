"""The tolerances of the package: unit and reason of each, in the order of the street.

A share is of what the comment names, without a unit of its own.  Sizes at which one way of
computing becomes faster than another stand where they are used, and so do steps of searches
and of difference quotients, 1e-300 as what divides in place of zero, and what only
``kernels`` or printing ask for.  Kernels and Python share those of the first part.
"""

# ---- arguments ----

# Likeness (difflib's ratio, 1 for equal) from which a known name is said to be meant.
SIMILAR_NAME = 0.7
# Share of decimals among the texts of a column above which the others are slips.
MOSTLY_NUMBERS = 0.5
# A confidence level below this has probably been given as its complement.
LOWEST_LEVEL = 0.5

# ---- the search and the factor ----

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
# Relative standard deviations of which the part of y that they leave is looked at, and the
# share of y below which one starts from as large ones as that share tells.
LARGE_LOOK, HARDLY_LEFT = 1e4, 2.5e-3
# Other minima are looked for from points at which the deviance exceeds the lowest minimum
# found by less than this;
PROMISING = 20.0
# between two neighbours along theta that exceed it by less than this is looked, too, for a
# narrow minimum may lie there;
NEARLY_LOWEST = 0.5
# those whose deviances differ by less are told as one.
DISTINCT_MINIMA = 1e-4
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

# ---- algebra: matrices are judged where their diagonal is one ----

# algebra/definiteness
# Eigenvalues below minus this, for each row, make a matrix indefinite.
NEGATIVE_EIGENVALUE = 1e-12
# Eigenvalues, and pivots, up to this, for each row, are those of a singular matrix that was
# rounded.
ROUNDED_EIGENVALUE = 1e-14
# Smallest eigenvalue of a covariance from which on it lies inside the set of covariances
# for a search, and its elements have an asymptotic covariance.
SINGULAR_EIGENVALUE = 1e-6
# algebra/inverses
# Smallest eigenvalue of an information that tells something about a direction.
IDENTIFIED = 1e-10
# models/mixedlm/residual_fitting
# Smallest relative curvature at a minimum below which the information is looked at.
UNIDENTIFIED_CURVATURE = 1e-7
# algebra/roots
# Pivots that differ by less than this share are alike.
ALIKE_PIVOTS = 1e-6

# ---- specification ----

# specification/covariance: parameters that have run to an end of their range
# A correlation, or a share of a variance, this near to its bound may be at it; so may a
# range whose correlations over the data's distances are this near to zero or one.
CORRELATION_AT_LIMIT = 1e-5
# A ratio of standard deviations, or its inverse, below this may be zero.
SD_RATIO_AT_LIMIT = 1e-7
# engine/residual/vanishing
# Share of residuals in the standard deviations of a stratum that stands for none: V loses
# its square, whitened rows its inverse square times the rounding error.  Share below which
# a stratum is tried with none, and rise of the deviance by row that this may bring.
NO_SHARE, SMALL_SHARE, RISE_AT_NO_SHARE = 1e-4, 2e-2, 1e-7
# engine/residual/search
# Rise of the deviance by row that a limit in which sigma^2 grows without bound may bring.
RISE_AT_LIMIT = 1e-8
# engine/residual/vanishing
# Residual of the rows of a stratum below this share of y: there is no variance to estimate.
EXPLAINED = 1e-10
# specification/data/value_range
# Largest absolute values of a column, and ratios of y to them, whose squares, summed over
# the rows, stay numbers of double precision (2e-308 to 2e308).
VALUE_RANGE = 1e-140, 1e140
# specification/data/weights
# Weights that span more than this many powers of ten get a warning.
WEIGHT_DECADES = 12
# specification/formula/chunk_plan
# Relative difference of a column evaluated on a chunk and on all rows that is rounding.
SAME_COLUMN = 1e-9
# specification/formula/transforms
# Share of the one before, times the square of the values' range, that the sum of squares
# of a polynomial orthogonal over them must have.
NO_POLYNOMIAL = 1e-24
# specification/terms/sparse_terms
# Rows of Z that are orthogonal and as long as each other to this: Z Z' is as good as I.
LIKE_RESIDUAL = 1e-10

# ---- rows: what depends, what is constant ----

# engine/rows/basis
# R's tolerance (qr, tol = 1e-7): a column whose part orthogonal to the columns before it
# is shorter than this share of its own length is dropped.
DEPENDENT_COLUMN = 1e-7
# Columns of a random term closer to dependence than this keep their own coordinates.
DEPENDENT_EFFECT = 1e-9
# Beyond this condition the square of a matrix does not tell its triangle well enough.
LARGEST_CONDITION = 1e5
# Share of the length of a dropped column below which a column kept has no part in it.
NO_RELATION = 1e-10
# engine/rows/estimability
# A difference this small beside the numbers it comes from is rounding: columns are told
# dependent at 1e-7 of their length (engine.rows.basis).
NOT_ESTIMABLE = 1e-7
ROW_ROUNDING = 1e-11
# engine/rows/design
# Residual of y on X below this share of y: nothing is left to estimate a variance from.
NO_RESIDUAL = 1e-12
# Condition of Q'Q, over all rows, up to which a sample of the rows has told R.
SAMPLE_CONDITION = 30.0
# engine/rows/level_structure
# Share of its sum of squares by which a column may miss being a multiple of another.
MULTIPLE_OF_COLUMN = 1e-9
# Share of its sum of squares that a constant column may have about its mean.
CONSTANT_COLUMN = 1e-14
# Eigenvalues of a matrix of products, columns of length one, that count as rank.
LEVELS_RANK = 1e-9
# engine/rows/levels
# Eigenvalues of pooled products below this share of the largest are rounding.
POOLED_EIGENVALUE = 1e-16
# engine/rows/rotation
# Eigenvalues of Z Z' below this share of the largest do not tell their eigenvectors of Z'Z.
SMALLEST_SQUARE = 1e-13
# engine/rows/within
# The difference of whole and between sums of squares is taken while what X leaves of y
# within levels is not a smaller share of the whole sum than this; beyond, the rows are
# asked.
WITHIN_SHARE = 1e-4
# They are also asked where a column of X varies within levels by a share below this,
# unless it is rounding, which grows with the root of the rows that were summed, between the
# last two: then the column lies in the columns of Z.
NEARLY_CONSTANT, WITHIN_ROUNDING, WITHIN_ROUNDING_RANGE = 1e-8, 1e-14, (1e-13, 1e-10)
# Eigenvalues of the correlations within levels that count when y is regressed.
WITHIN_INDEPENDENT = 1e-8
# Eigenvalues of the same that are rounding: such combinations of X lie in the columns of Z.
WITHIN_EXPLAINED = 1e-13
# Share of a sum of squares of residuals from the rows that is rounding.
WITHIN_NOTHING = 1e-24

# ---- factor and deviance ----

# engine/factor/tail_traces
# Lam of the tail is divided by while its singular values exceed this, and this share of
# the largest: what is lost is the inverse square of it in units of rounding.
DIVISIBLE_ROOT = 1e-3

# engine/deviance/explained
# Residuals this much smaller than the response leave no residual variance.
EXACT_FIT = 1e-11
# Relative standard deviations with which effects are hardly shrunk, and the share of y that
# they leave then below which the rows are asked.
NEARLY_FREE, LITTLE_LEFT = 1e4, 1e-6
# engine/deviance/joint_deviance
# Eigenvalues of Z_l'Z_l, its diagonal one, below this are zero.
LEVEL_RANK = 1e-10
# engine/deviance/one_factor
# Share of y'V0^-1 y that X leaves below which another residual of y on X is taken.
LOST_IN_X = 1e-3
# engine/deviance/row_deviance
# Rounding error of log det S above which its factor is mended.
PIVOT_NOISE = 1e-9
# Steps of refinement at most, and the share of u below which the last may be.
REFINEMENT_STEPS, REFINED_STEP = 6, 1e-15
# Along directions of a covariance whose root exceeds this Z'V0^-1 c is u by the root;
# along others it is Z'(c - Z Lam u).
LARGE_ROOT = 1e-2
# Steps by which L is mended, how many times larger a diagonal element than its pivot asks
# for the rows, and regressions of y on X by V0 one after the other.
MEND_STEPS, POOR_PIVOT, MOST_SHIFTS = 3, 1e2, 4

# engine/fit
# Relative variances that start a fit are kept within these (columns of Z have rms 1): a
# start at zero would be a saddle.
START_FLOOR, START_CEILING = 1e-2, 1e8
# Least eigenvalue of a Hessian with unit diagonal at which it is definite with the whole
# bend of curved covariances.
CURVED_UP = 1e-6
# specification/terms/related_terms
# Share of the largest element by which a relationship that is given may be asymmetric.
ASYMMETRY_GIVEN = 1e-8
# Levels of a known relationship whose dense root is no burden: 3 GB.
MOST_RELATED = 20_000
# specification/covariance/curved
# Logarithm of a relative standard deviation from which on down it is zero.
ZERO_LOG = -36.0
# One beyond which a search may look, but of which squares must not overflow.
LARGEST_LOG = 300.0
# Free parameter of a correlation that is at its limit but for rounding, and one beyond
# which it has run there if the covariance is singular.
FREE_LIMIT, RUN_TO_LIMIT = 40.0, 9.0
# Derivative of all correlations by a free parameter that no longer changes them.
NO_SLOPE_LEFT = 1e-10
# Share of the largest element by which a covariance may miss its structure by rounding.
OF_STRUCTURE = 1e-10
# Free parameters of correlations where any will do.
TYPICAL_FREE = 0.3
# Singular values of lam below this share of the largest count as zero where effects are
# divided by it: along them there are none.
NO_ROOT = 1e-10

# ---- search, besides those that the kernels share ----

# engine/search/flatness
# Change of the covariances (columns of Z at rms 1, sigma 1), along a direction of theta of
# length one, that is none.
NO_CHANGE = 1e-5
# Square of the score of a variance at zero, a share of its information, up to which it is
# what the search leaves.
ZERO_SCORE = 1e-6
# engine/search/identification
# Eigenvalues of the Gram matrix of what the variances multiply, its diagonal one, up to
# which, for each row, two of them are the same matrix; and the share of a change that an
# element must have.
SAME_COVARIANCES, INVOLVED = 1e-13, 1e-6
# engine/search/near_singular
# Singular values of lam (columns of Z at rms 1) above this are not worth a look.
SMALL_ROOT = 0.1
# engine/search/optimize
# Change of the curvature's units (log-likelihood over relative change of theta) below which
# the deviance is constant.
CONSTANT_DEVIANCE = 1e-7
# Share of the largest curvature below which a closer look tells whether there is any: what
# the search leaves of the gradient bends the deviance in theta by less.
SUSPICIOUS_CURVATURE = 1e-4
# engine/search/rivals
# Share of the residual sum of squares that few rows keep beside random effects, below which
# these explain nearly all; and standard deviations, relative to sigma, beyond which a
# variance runs away.
NEARLY_EXPLAINED, RUNAWAY = 1e-3, 300.0
# engine/search/starting_values
# Share of the residual variance of y that sigma^2 gets where its moment is not positive.
SIGMA_SHARE = 0.01
# The least share: relative variances, and their sums, stay numbers.
LEAST_SIGMA = 1e-100
# Singular values of the moment equations, diagonal one, below this share of the largest are
# those of equations that say the same.
MOMENTS_RANK = 1e-12
# Traces of squares, a row, columns of Z at rms 1, that are rounding.
NO_MOMENT = 1e-9
# engine/search/trust_region
# Smallest pivot of the Cholesky factor, diagonal one, of a Hessian that is taken for
# positive definite.
SMALLEST_PIVOT = 1e-5
# Share of the largest curvature that is the least by which a slope is divided, and slope
# along a curvature below it that counts as none.
LEAST_CURVATURE, NO_SLOPE = 1e-8, 1e-9
# Share of the largest curvature from which on a negative one makes a saddle, and slope
# along it, in units of unit curvature, up to which no step leaves there.
SADDLE_CURVATURE, SADDLE_SLOPE = 1e-6, 1e-4
# Decrement below which a change of the function may be all rounding error.
LITTLE_DECREMENT = 1e-6
# Length of steps, in units of unit curvature, at which the search ends: all have failed.
SMALLEST_RADIUS = 1e-7

# ---- information ----

# engine/information/expected
# Share of tr V0^-1 G V0^-1 G that tr P G P G must have if X does not take the direction in.
TAKEN_IN = 1e-13
# engine/information/observed
# Share that an element of gamma has in what is left open, of the largest, that is none.
LEFT_OPEN = 1e-6
# engine/information/refinement
# Error of the deviance, estimated from the cancellation, above which the rows are asked.
DEVIANCE_NOISE = 1e-7
# Relative error of a sum of squares above which the search has missed the minimum by more
# than a millionth or so of its parameters, and goes on with sums from the rows.
SEARCH_NOISE = 1e-9
# The same where the deviance alone matters, as in tests by simulation: it is missed by no
# more than that, as theta is found in its noise.
DEVIANCE_SEARCH_NOISE = 1e-7

# ---- parameters held or penalized ----

# engine/constrained/central_path
# Share of the largest curvature, that of log det, which may be rounding error.
WALL_ROUNDING = 1e-6
# engine/constrained/covariance
# Smallest eigenvalue of an information, diagonal one, that is inverted: columns of X may be
# far from zero.
HELD_DEFINITE = 1e-12
# engine/constrained/maximum
# What one more Newton step may still add to the log-likelihood at convergence.
HELD_DECREMENT = 1e-9
# Slope, in units of unit curvature, that may be left along directions without curvature.
HELD_SLOPE = 1e-6
# Share of the largest curvature below which a negative one is rounding error.
NEGATIVE_CURVATURE = 1e-8
# The search ends where a step promises less.
SMALLEST_GAIN = 1e-11
# Smallest curvature, in units of unit curvature, with which Newton steps go on until the
# gradient is rounding error; below it the point is a boundary or a saddle.
NO_CURVATURE = 1e-12
# A log-likelihood that is higher by less beside a saddle is as high.
HIGHER_LIKELIHOOD = 1e-10

# ---- refits ----

# engine/refits/deletion
# What a deleted set held of a column, over what is left of it, from which on the rows left
# are summed: more digits would be lost to the difference.
DIGITS_DELETED = 1e5
# engine/refits/simulation
# Pivots of what Z leaves of Q'Q below this count as zero.
UNSPANNED_FIXED = 1e-10
# engine/refits/spectral
# Eigenvalues, relative to the largest, that count as zero.
SPECTRAL_ZERO = 1e-11
# Those nearer than this share of the largest are equal; and squares of Q'ZU, relative to
# the largest, that do not count.
SPECTRAL_EQUAL, SPECTRAL_NO_SHARE = 1e-10, 1e-14
# Steps in log lam below this end the search.
SPECTRAL_STEP, SPECTRAL_ITERATIONS = 1e-11, 80

# ---- a model beside another ----

# inference/submodels/covariance_nesting
# Relative squared distance to the larger model's span from which a matrix lies outside.
COVARIANCE_OUTSIDE = 1e-8
# Singular values of products of the span's matrices, their lengths one, below this share of
# the largest count as zero.
COVARIANCE_RANK = 1e-10
# inference/submodels/nesting
# Relative difference of two models' weights that is rounding.
SAME_WEIGHTS = 1e-12
# inference/submodels/row_basis
# Singular values below this share of the largest count as zero.  Columns that R would
# drop (tolerance 1e-7) are gone before.
SPACE_RANK = 1e-9
# A column whose part outside a space is below this share of its length lies in it (R's
# tolerance for dependent columns).
COLUMN_INSIDE = 1e-7

# ---- profiles ----

# inference/profile/branches
# Standard deviations (of effects on columns with rms 1, relative to sigma) and eigenvalues
# of correlation matrices, by their size, below which the deviance may have several minima.
SMALL_SD, SMALL_EIGENVALUE = 0.05, 0.05
# A flat end of a profile that is shorter, as an angle, is a point.
FLAT_END = 1e-5
# inference/profile/coordinates
# Cosine of the arc of a correlation below which that is one.
ZERO_COSINE = 1e-8
# inference/profile/likelihood_profile
# A level is above another if it is by more than the rounding of 1 - alpha.
SAME_LEVEL = 1e-12
# inference/profile/path
# Deviance below that of the fit by more than this is a better fit, not rounding; times this
# share of the deviance where that is more than one.
LOWER_DEVIANCE, LOWER_SHARE = 1e-6, 1e-6
# Length in zeta at which a search for a limit ends, its steps, and the relative width of
# what is left to search.
LIMIT_ZETA, LIMIT_STEPS, LIMIT_WIDTH = 1e-9, 40, 1e-13
# Below this distance from the estimate, in zeta, the signed root has no digits.
SMALL_ZETA = 1e-4
# Step of a path, as a share of the estimate, that is no more than its rounding.
UNRESOLVED = 1e-14
# inference/profile/restricted_minimum
# What one more Newton step may still take off the deviance at a point of a path, and at a
# limit: the step is taken without being computed, with an error of the power 3/2 of it.
PATH_DECREMENT, LIMIT_DECREMENT = 1e-7, 1e-9
# Deviances that differ by less are of the same minimum.
SAME_MINIMUM = 1e-6
# Rounding error of the deviance, as a share of it and the number of rows.
DEVIANCE_ROUNDING = 1e-13
# Share of the largest curvature along a coordinate below which another one is no unit.
LEAST_UNIT = 1e-10

# ---- bootstraps ----

# inference/bootstrap/bootstrap_tests
# A larger model whose deviance is above that of the smaller by more than this missed the
# minimum.
MISSED_MINIMUM = 1e-5
# Statistics below this count as zero, and the share of them that no gamma law has.
STATISTIC_AT_ZERO, MANY_ZEROS = 1e-6, 0.05
# inference/bootstrap/intervals
# A number of replicates, probability times all, that is above a whole one by less is that.
WHOLE_COUNT = 1e-9
# inference/bootstrap/resampling
# Variance that an effect has beside others, as a share of its own, that counts as zero.
NO_OWN_VARIANCE = 1e-12
# Size of effects in some direction, relative to the largest, that is rounding error.
UNSPANNED_EFFECTS = 1e-9
# inference/bootstrap/simulated_law
# Draws that are smaller than the statistic by less, as a share of it or of one, equal it.
SAME_STATISTIC = 1e-9

# ---- tests of variances ----

# inference/variances/component_spectrum
# Eigenvalues that agree within this share of the largest are equal, or zero: rounding.
EQUAL_EIGENVALUES = 1e-10
# inference/variances/null_law
# Difference of two eigenvalues, the largest one, with which they are the same; and error
# of the mass at zero that is sought.
SAME_PENALTY, MASS_ERROR = 1e-9, 3e-4
# inference/variances/variance_tests
# A difference of two deviances below this share of them is rounding.
SAME_DEVIANCE = 1e-11

# ---- fixed effects ----

# inference/fixed_effects/classical_df
# Share of the largest, on the scale of standard errors, above which a column counts.
COLUMN_INVOLVED = 1e-10
# Share of the largest coefficient of the columns that give the constant, above which a
# column is needed for it.
IN_CONSTANT = 1e-6
# inference/fixed_effects/cluster_blocks
# 1 - leverage below which a cluster alone identifies a coefficient.
UNIT_LEVERAGE = 1e-9
# Least 1 - leverage with which the quadrature still has its digits, and size up to which
# singular values take the rest.
LEAST_REST, LARGEST_SIZE = 1e-6, 4000
# inference/fixed_effects/default_method
# Times the work of the fit up to which Satterthwaite's degrees of freedom are the default.
MOST_TEST_WORK = 10.0
# inference/fixed_effects/df_methods
# Singular values of a hypothesis's rows, in standard errors, below this share of the
# largest are those of rows that say the same; their values may differ by the second.
HYPOTHESIS_RANK, CONTRADICTION = 1e-10, 1e-8
# Singular values of its rows, in one unit, down to which they are lmerTest's combinations;
# below, of rows of very different units, they have lost too many digits.
LIKE_UNITS = 1e-6
# inference/fixed_effects/kenward_roger
# As pbkrtest: a denominator that near to 2 has no mean to be matched by a scaling.
NEAR_TWO = 1e-2
# As pbkrtest: v0, a difference of numbers near one, is zero below the first; mean and v1
# that are both below the second are zero over zero.
ZERO_V0, ZERO_BOTH = 1e-10, 1e-14
# inference/fixed_effects/matrix_root
# Relative accuracy that the number of nodes is chosen for, and of the means behind them.
QUADRATURE_ACCURACY = 1e-15
# inference/fixed_effects/robust
# Share of the largest eigenvalue that a difference of sums over clusters has as rounding.
CANCELLED = 1e-10
# Smallest eigenvalue of the expected covariance of combinations, as a share of the largest,
# up to which it is singular and has no Wishart matrix.
WISHART_SINGULAR = 1e-12
# inference/fixed_effects/single_clusters
# Share of the information on a direction that other clusters have, below which one cluster
# alone tells it; and the share of a combination's standard deviation (by the model) along
# such directions, above which it rests on them.  Columns with means of 1e8 standard
# deviations have digits for these.
ONE_CLUSTER, ON_ONE_CLUSTER = 1e-7, 1e-6
# Singular value of unit columns below which they say no other direction.
SAME_DIRECTION = 1e-6
# inference/fixed_effects/satterthwaite
# Degrees of freedom this close together are averaged (as lmerTest).
EQUAL_DF = 1e-8

# inference/means/contrasts
# Sum of a contrast's coefficients, as a share of that of their sizes, that is zero.
ZERO_SUM = 1e-9
# inference/means/estimated_means
# Share of a column within which it is linear in a covariate over the whole range.
LINEAR_COLUMN = 1e-10
# By how much differences of a smooth column over half the step may differ from a fourth of
# those over the step, as a share of these; and what of a column's size is its rounding.
NO_CORNER = 1e-3
BEND_ROUNDING = 1e-12
# inference/means/linear_combinations
# Rows, each column on its own scale, that are zero; and singular values of the others, for
# each row or column, that count as zero.
ZERO_ROW, ROWS_RANK = 1e-10, 1e-9
# inference/means/multiplicity
# Share of its variance that an estimate must have beside others to add a dimension.
NO_DIMENSION = 1e-9
# Error of a critical value.
QUANTILE_ACCURACY = 1e-10

# ---- diagnostics ----

# inference/diagnostics/held_deletions
# Share of the information on some combination of the coefficients that the other rows must
# have; with less they do not determine it.
NOT_LEFT = 1e-9

# ---- models ----

# models/anova_estimates/estimates
# Probes and weights are good to about this share of their size.
PROBE_ACCURACY = 1e-9
# What a projection leaves of a vector in its span, relative to its length.
IN_SPAN = 1e-14
# graphics/observed
# Predictions that vary by a smaller share of their size are constant up to rounding.
FLAT_PREDICTIONS = 1e-10
# models/anova_estimates/intervals
# Relative error of a variance ratio that a limit is solved for.
RATIO_ACCURACY = 1e-13
# models/anova_estimates/model
# A weight this near to one is not printed.
WEIGHT_ONE = 1e-9
# models/anova_estimates/sources
# Traces are differences of sums that are at most n; smaller shares of n are rounding.
NO_TRACE = 1e-11
# models/mixedlm/chunked_design
# Elements of Q'Q are this far from the identity's only if the rows have changed.
NOT_ORTHONORMAL = 1e-3
# models/mixedlm/fitting
# Share of a response's variance that is so small a residual variance, beside as many random
# effects as rows, that it is zero.
ALL_TAKEN = 1e-9
# Relative disagreement of the residual sum of squares with the rows that is worth a word.
IMPRECISION = 1e-6
# Fall of the log-likelihood up to which a singular fit is as good as the one found: a
# likelihood ratio of 1.0002.
SAME_FIT = 2e-4
# models/planning/parameters
# Share of the largest element by which a covariance that is given may be asymmetric, or
# differ from what the term's structure can be.
ASYMMETRY = 1e-10
# The same of a structure that is not linear: half of the digits of a correlation near one
# are lost on the way to its free parameter and back.
STRUCTURED = 1e-7
# models/planning/power
# Share of singular refits from which on a power rests on boundary estimates: it is said.
MANY_SINGULAR = 0.25
# Relative difference of columns of the fixed effects that is more than rounding.
OTHER_COLUMNS = 1e-9
# models/mixedlm/refitting
# Share of a response's variance that is so small a residual variance that a look at the
# rows tells whether it is rounding error.
SUSPICIOUS_VARIANCE = 1e-10
# models/mixedlm/statsmodels_face/model_data
# Share of the largest eigenvalue of X'X above which the smallest leaves no doubt that
# the columns are independent (numpy's matrix_rank would say so of up to 1e10 rows).
FULL_RANK = 1e-9

# ---- reporting ----

# Rows of a square matrix up to which it is made dense without a word: 32 MB.
MOST_DENSE_ROWS = 2000
# Share of elements above which a sparse matrix takes more memory than a dense one.
DENSE_MATRIX = 0.5

# ---- formulas ----

# Brackets open at once: beyond, Python's own parser gives up, and readers long before.
MOST_NESTED = 50
# Factors that a grouping such as a*b*c stands for: they double with each one crossed.
MOST_FACTORS = 1000

# Share of the prior variance of a random effect below which its mode does not vary: what is
# left of prior variance less error variance is rounding.
MODE_VARIANCE = 1e-10

# ---- residual covariance ----

# specification/covariance/residual_visits
# Lags of whole numbers up to which a structure over visits is asked for; more are times.
MOST_VISITS = 20_000
# specification/covariance/residual_patterns
# Share of the largest distance within which two groups have the same distances.
SAME_DISTANCES = 1e-12
# Share of the smallest distance that is not lost in it.
SMALLEST_SHARE = 1e-6
# specification/covariance/residual_checks
# Matrices of the size of the correlations that a fit holds at once; its evaluations, and
# multiplications in them by cube of the size, a factor and derivatives; their number in a
# second of one thread; seconds that a fit is let run for.
DENSE_MATRICES, DENSE_EVALUATIONS, DENSE_PRODUCTS = 8, 30, 2.0
PRODUCTS_A_SECOND, LONGEST_FIT = 5e9, 86_400.0
# Share of a column of log standard deviations that earlier ones must leave of it.
SD_COLUMN_LEFT = 1e-9
# engine/residual/joint_rows
# Shares of the variance of a row to predict: what is left of it beside the rows of the fit
# is nothing below the first, and a covariance that is none below minus the second.
NOTHING_LEFT, NEGATIVE_LEFT = 1e-13, 1e-8
