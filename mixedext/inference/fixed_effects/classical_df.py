"""Degrees of freedom by counting: containment, and between and within subjects."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.rows.level_structure import LevelStructure
from mixedext.inference.fixed_effects.df_methods import FixedTests
from mixedext.limits import COLUMN_INVOLVED, IN_CONSTANT
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["BetweenWithinTests", "ContainmentTests", "InnerOuterTests"]


class _CountedTests(FixedTests):
    """Tests whose degrees of freedom belong to single columns of X.

    A combination has the fewest of all columns that it involves, a joint test the fewest
    of its combinations.
    """

    name = ""
    # Whether residual groups count where there are no random terms.
    residual_groups = False

    def __init__(self, fit: Fit):
        super().__init__(fit)
        structure = LevelStructure(fit, self.residual_groups)
        self._check_levels(structure.design)
        self.column_df = self._count(structure)

    def _check_levels(self, design):
        """What counts levels needs rows that belong to one level of each factor."""
        for number, term in enumerate(design.terms):
            if isinstance(term, SparseTerm) or number in design.scalar_terms:
                raise ValueError(
                    f"df_method={self.name!r} counts the levels of grouping factors, but "
                    f"the rows of {term.group!r} are combinations of many random effects "
                    "with one variance; use df_method='satterthwaite' or 'kenward-roger'"
                )

    def _count(self, structure: LevelStructure) -> np.ndarray:
        raise NotImplementedError

    def df(self, rows: Any) -> np.ndarray:
        # on the scale of standard errors; what rounding has left is not involved
        size = np.sqrt(np.diag(self.covariance))
        share = np.abs(np.atleast_2d(np.asarray(rows, float))) * size
        involved = share > COLUMN_INVOLVED * share.max(axis=1, initial=0.0, keepdims=True)
        fewest = np.where(involved, self.column_df, np.inf).min(axis=1, initial=np.inf)
        return np.where(involved.any(axis=1), fewest, np.nan)

    def joint_df(self, rows: np.ndarray) -> float:
        return float(self.df(rows).min())


class ContainmentTests(_CountedTests):
    """The containment method of SAS PROC MIXED (DDFM=CONTAIN).

    A column z of a random term contains a column of X that in every level of the term's
    grouping factor is a multiple of z: with a random intercept, that is constant within
    levels; with a random slope, the slope's own covariate.  (SAS asks this of the effects'
    names; here the data are asked.)  The degrees of freedom are the smallest number that a
    containing column, over all its levels, adds to the rank of [X Z], or n - rank [X Z] if
    none contains it, also where a residual covariance is all there is.  Grouping factors
    with fewer levels are added before those with more, columns of one factor in the order
    of the model.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Attributes
    ----------
    column_df : ndarray
        Of each coefficient kept.

    References
    ----------
    SAS Institute. SAS/STAT User's Guide: the MIXED procedure, option DDFM=CONTAIN.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.irrigation.load().data
    >>> model = mx.mixedlm('Q("yield") ~ irrigation + variety + (1 | field)', data)
    >>> ContainmentTests(model.fit().fitted.fit).column_df
    array([4., 4., 4., 4., 7.])
    """

    name = "containment"

    def _count(self, structure: LevelStructure) -> np.ndarray:
        contributions, rank = structure.rank_contributions()
        rest = float(structure.blocks.nobs - rank)
        out = np.full(structure.rank, np.inf)
        for number, own in enumerate(contributions):
            contained = structure.multiples(number)
            found = np.where(contained, own[:, None].astype(float), np.inf)
            out = np.minimum(out, found.min(axis=0))
        return np.where(np.isinf(out), rest, out)


class BetweenWithinTests(_CountedTests):
    """Between and within subjects, for one grouping factor or nested ones.

    The factors are those of the random terms, or without any the residual groups.  A column
    of X belongs to the coarsest level of grouping within which it is constant and has there
    m_i - m_(i-1) - p_i degrees of freedom: m_i groups (m_0 = 1 with an intercept, else 0;
    the rows count as the last level), less those of the level above, less the p_i columns
    that belong to the level.  The intercept has those of the rows and counts in no p_i, nor
    does a constant that several columns give together (cell means). So mmrm counts, and so
    does SAS (DDFM=BETWITHIN) with one grouping factor, but gives the intercept the degrees
    of freedom between subjects.  Of nlme see ``InnerOuterTests``.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Attributes
    ----------
    column_df : ndarray
        Of each coefficient kept.

    Raises
    ------
    ValueError
        If grouping factors are crossed, or have no random intercept.

    References
    ----------
    Pinheiro, J. C. and Bates, D. M. (2000). Mixed-effects models in S and S-PLUS, p. 91.

    Schluchter, M. D. and Elashoff, J. T. (1990). Small-sample adjustments to tests with
    unbalanced repeated measures assuming several covariance structures. Journal of
    Statistical Computation and Simulation 37, 69-87.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.irrigation.load().data
    >>> model = mx.mixedlm('Q("yield") ~ irrigation + variety + (1 | field)', data)
    >>> BetweenWithinTests(model.fit().fitted.fit).column_df
    array([7., 4., 4., 4., 7.])
    """

    name = "between-within"
    residual_groups = True

    def _count(self, structure: LevelStructure) -> np.ndarray:
        factors = structure.blocks.factors
        if not structure.is_chain():
            crossed = ", ".join(f.group for f in factors)
            raise ValueError(
                f"df_method={self.name!r} needs nested grouping factors, and {crossed} "
                "are crossed; use df_method='satterthwaite' or 'kenward-roger'"
            )
        order = sorted(range(len(factors)), key=lambda f: factors[f].n_levels)
        level = np.full(structure.rank, len(order))
        ones = np.zeros(len(level))
        for i, number in enumerate(order):
            inside, ones = structure.constant(number)
            level[inside & (level == len(order))] = i
        groups = [factors[number].n_levels for number in order]
        groups.append(structure.blocks.nobs)
        spanning = np.abs(ones) > IN_CONSTANT * np.abs(ones).max(initial=0.0)
        if np.count_nonzero(spanning) == 1:
            level[spanning] = len(order)
        columns = np.bincount(level, minlength=len(groups))
        if spanning.any():  # the constant is no column of the finest level that it needs
            columns[level[spanning].max()] -= 1
        counts = np.array(groups) - [int(spanning.any()), *groups[:-1]] - columns
        return self._corrected(counts, bool(spanning.any()))[level].astype(float)

    def _corrected(self, counts: np.ndarray, constant: bool) -> np.ndarray:
        """Degrees of freedom by level, the rows last."""
        return counts


class InnerOuterTests(BetweenWithinTests):
    """The table of nlme's ``lme``: its rules for inner and outer columns.

    As ``BetweenWithinTests`` of the random terms, whatever the residual groups; rows of a
    model that gives no constant have one more.  Without random terms n - p, those of
    nlme's ``gls``.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Attributes
    ----------
    column_df : ndarray
        Of each coefficient kept.

    References
    ----------
    Pinheiro, J. C. and Bates, D. M. (2000). Mixed-effects models in S and S-PLUS, p. 91.
    """

    name = "inner-outer"
    residual_groups = False

    def _corrected(self, counts: np.ndarray, constant: bool) -> np.ndarray:
        if constant or len(counts) == 1:
            return counts
        return counts + (np.arange(len(counts)) == len(counts) - 1)
