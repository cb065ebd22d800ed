"""Whether a residual covariance is a special case of another, and on which boundary.

Structures are compared as they are stated: groups, visits, levels of ``by``, variance
functions.  What may be nested for some data alone, such as series on whole times, is not
known here.
"""

from __future__ import annotations

import numpy as np

from mixedext.inference.submodels.level_nesting import is_nested
from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.arma import ARMA
from mixedext.specification.covariance.autoregressive import AutoRegressive, ContinuousAR1
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.spatial import Spatial
from mixedext.specification.covariance.toeplitz import Toeplitz
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits

__all__ = ["on_boundary", "residual_is_nested"]


def residual_is_nested(
    small: BoundResidual | None, large: BoundResidual | None
) -> bool | None:
    """Whether every covariance of a structure is one of another; None if not known.

    Parameters
    ----------
    small, large : BoundResidual or None
        The structures on the same rows; None for independent residuals of one variance.
    """
    if small is None:
        return True
    if large is None:
        # random intercepts may be a compound symmetry
        perhaps = isinstance(small.correlation, CompoundSymmetry) and not small.functions
        return None if perhaps else False
    functions = _functions_are_nested(small, large)
    correlation = _correlation_is_nested(small, large)
    if functions is False or correlation is False:
        return False
    return True if functions and correlation else None


def _functions_are_nested(small, large):
    """Whether the variances of rows of the smaller structure are some of the larger."""
    if not small.functions:
        return True
    if isinstance(large.correlation, UnstructuredVisits) and not large.functions:
        strata = [s for s in small.row_strata if s is not None]
        plain = all(c is None for c in small.row_covariates)
        visits = large.visit_codes
        if plain and visits is not None:  # as it has a variance for every visit
            return all(is_nested(visits, s) for s in strata) or None
    texts = [*large.function_texts]
    for text in small.function_texts:
        if text not in texts:
            return None if large.functions else False
        texts.remove(text)
    same = _same(small.row_strata, large.row_strata, small.function_texts, large)
    return same or None


def _same(own, others, texts, large):
    """Whether functions of one text have the same strata."""
    for strata, text in zip(own, texts, strict=True):
        other = others[large.function_texts.index(text)]
        if (strata is None) != (other is None):
            return False
        if strata is not None and not is_nested(other, strata):
            return False
    return True


def _correlation_is_nested(small, large):
    one, other = small.correlation, large.correlation
    if one is None:
        return True
    if other is None:
        return False
    if not _same_groups(small, large):
        return None
    if len(small.level_labels) > 1 and small.level_labels != large.level_labels:
        return False
    same_places = one.over_visits == other.over_visits
    if same_places and one.over_visits:
        free = isinstance(one, CompoundSymmetry)  # of the visits
        if not free and not _equal(small.visit_codes, large.visit_codes):
            return None
    if not same_places and not isinstance(one, CompoundSymmetry):
        return None
    return _kind_is_nested(one, other)


def _equal(one, other):
    return one is not None and other is not None and np.array_equal(one, other)


def _same_groups(small, large):
    one, other = small.group_codes, large.group_codes
    return is_nested(one, other) and is_nested(other, one)


def _kind_is_nested(one, other):
    if isinstance(other, UnstructuredVisits):
        return True
    if isinstance(one, CompoundSymmetry):
        return isinstance(other, CompoundSymmetry) or _is_full(other) or None
    if isinstance(one, AutoRegressive):
        if isinstance(other, ARMA):
            return other.p > 0
        return isinstance(other, AutoRegressive | Antedependence) or _is_full(other)
    if isinstance(one, Toeplitz):
        if not isinstance(other, Toeplitz):
            return False
        return other.n_psi >= one.n_psi
    if isinstance(one, ARMA):
        if isinstance(other, ARMA):
            return other.p >= one.p and other.q >= one.q
        return _is_full(other)
    if isinstance(one, Spatial) and isinstance(other, Spatial):
        return None if one.kind != other.kind else other.nugget or not one.nugget
    if type(one) is type(other):
        return True
    return None if isinstance(one, ContinuousAR1 | Spatial) else False


def _is_full(correlation):
    """Whether all lags have correlations of their own."""
    return isinstance(correlation, Toeplitz) and correlation.is_full


def on_boundary(small: BoundResidual | None, large: BoundResidual | None) -> int:
    """How many parameters of the larger structure stand on the boundary under the smaller.

    A nugget that the smaller one has not; a range, or the correlation of continuous time,
    where the smaller one has independent rows.
    """
    other = None if large is None else large.correlation
    one = None if small is None else small.correlation
    if other is None or large is None:
        return 0
    count = 0
    if isinstance(other, Spatial):
        count = int(other.nugget and not (isinstance(one, Spatial) and one.nugget))
    if isinstance(other, Spatial | ContinuousAR1) and one is None:
        count += 1
    return count * max(len(large.level_labels), 1)
