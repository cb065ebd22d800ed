"""Modes of groups that were not fitted, from data of theirs, without a refit.

With V_n = W^-1 + Z_n Sigma Z_n' of the new rows, relative to sigma^2, and the weights
A = V_n^-1 Z_n Sigma the modes are

    modes = A'(y_n - X_n b - Z_k u),

with the coefficients b and the modes u of the levels that the fit had (of other factors),
which stay as they are.  The error of x'b + z_k'u + z_n'modes is that of the fit for

    x - X_n'A z_n,    z_k - Z_k'A z_n

and, independent of it, z_n'Sigma z_n - z_n'Sigma Z_n'A z_n.  For one factor this is
Lam (sigma^2 C + R Phi R') Lam', R = C Lam'Z_n'W X_n, with C of the new rows.

The modes are the best ones given b and u, but b and u do not learn from the new rows, so
that the variance m is not stationary in the weights: with d = z_n - Z_n'A z_n

    dm / d gamma_r = that of the fit + d'B_r d - 2 (X_n'w, Z_k'w)'J (x.., z..),
    w = V_n^-1 Z_n B_r d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, sparse

from mixedext.arguments import check_choice
from mixedext.engine.information.joint_errors import joint_errors, random_rows
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.fixed_effects.covariance_choice import (
    choice_in_words,
    chosen_tests,
    settled_choice,
)
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER, df_choice
from mixedext.inference.prediction.fixed_rows import new_response
from mixedext.inference.prediction.new_rows import (
    NEW_LEVELS,
    NewRows,
    level_labels,
    new_rows,
    precision_of,
)
from mixedext.inference.prediction.prediction_result import (
    KINDS,
    MixedPrediction,
    columns_of,
)
from mixedext.inference.prediction.row_degrees import satterthwaite_df
from mixedext.inference.random_effects.modes import effect_names, terms_of
from mixedext.specification.data.known_levels import MISSING, UNKNOWN
from mixedext.specification.formula.term_recipe import TermRows

__all__ = ["NewModes", "ranef_new"]

# Random effects of new levels at most: their covariance is dense.
MOST_EFFECTS = 3000


@dataclass(frozen=True, eq=False, repr=False)
class NewModes:
    """Modes of levels that the fit had not.

    Attributes
    ----------
    group : str
        The grouping factor.
    values : DataFrame
        Modes, one row a level, one column a random effect, as of ``ranef``.
    cov : DataFrame
        Covariances of their errors, rows by (level, effect), columns by effect, with the
        uncertainty of the fixed effects, as of ``ranef_cov(given_beta=False)``.
    coef : DataFrame
        Fixed plus random effects of each level, as of ``coef``.
    """

    group: str
    values: pd.DataFrame
    cov: pd.DataFrame
    coef: pd.DataFrame
    _fitted: Fitted
    _new: _NewLevels

    def __repr__(self) -> str:
        count = len(self.values)
        levels = "a new level" if count == 1 else f"{count} new levels"
        return f"Modes of {levels} of {self.group!r}\n{self.values}"

    def get_prediction(
        self,
        exog: Any,
        weights: Any = None,
        row_labels: Any = None,
        offset: Any = None,
        *,
        new_levels: str = "raise",
        df_method: str | None = None,
    ) -> MixedPrediction:
        """Predictions given the modes of the fit and those of the new levels.

        Parameters
        ----------
        exog : DataFrame
            New data; its levels may be those of the fit and the new ones.
        weights, row_labels, offset
            As for ``get_prediction`` of the results.
        new_levels : {"raise", "zero", "missing"}, optional
            What is done with levels that are neither the fit's nor new ones with data.
        df_method : {"satterthwaite", "residual", "z"}, optional
            Degrees of freedom; as the fit's tests if None, by Satterthwaite's method where
            these are by Kenward and Roger's.

        Returns
        -------
        MixedPrediction

        Raises
        ------
        ValueError
            If levels are new, and ``new_levels="raise"``; or for Kenward and Roger's
            method, which is that of predictors whose coefficients have seen all rows.
        """
        return _prediction(
            self._fitted,
            self._new,
            exog,
            weights,
            row_labels,
            offset,
            new_levels,
            df_method,
        )


@dataclass(frozen=True, eq=False)
class _NewLevels:
    """The rows of new levels, and what follows of them.

    Attributes
    ----------
    labels : dict
        For each grouping factor the labels of its new levels.
    first : list of int
        Number of the first effect of each term.
    effects : ndarray
        Modes of all new effects, those of a level together, (Q,).
    weights : ndarray
        A, (n, Q).
    gain : ndarray
        V_n^-1 Z_n, (n, Q).
    within : ndarray
        Sigma - Sigma Z_n'A, (Q, Q): errors given the coefficients and modes of the fit.
    z : ndarray
        Z_n, (n, Q).
    exog : ndarray
        Columns kept of the fixed effects, (n, rank).
    known : csr_array or None
        Values at the effects of the fit in the engine's order; None if there are none.
    """

    labels: dict[str, pd.Index]
    first: list[int]
    effects: np.ndarray
    weights: np.ndarray
    gain: np.ndarray
    within: np.ndarray
    z: np.ndarray
    exog: np.ndarray
    known: sparse.csr_array | None


def ranef_new(
    results: HasFitted,
    data: Any,
    group: str | None = None,
    *,
    weights: Any = None,
    offset: Any = None,
) -> NewModes:
    """Modes of levels that were not fitted, from data of theirs, without a refit.

    Parameters
    ----------
    data : DataFrame
        Rows of the new levels, with the response; rows without any are left out.
    group : str, optional
        The grouping factor; may be left out if only one has new levels.
    weights : array_like, optional
        Precision weights of the rows; 1 if None.
    offset : array_like, optional
        Of the rows, as for ``predict``.

    Returns
    -------
    NewModes
        ``values``, ``cov``, ``coef``, and ``get_prediction(data)``.

    Raises
    ------
    ValueError
        If no level is new, a variance component of ``groups`` is among the terms, the fit
        has weights and none are given, or its parameters are held or penalized.
    FormulaError
        If the data lack a column; names it.

    Notes
    -----
    The coefficients, the variances and the modes of the levels of the fit stay as they are:
    they do not learn from the new rows.  Errors are those of that predictor.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> old, new = data[data["Subject"] != "372"], data[data["Subject"] == "372"]
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", old).fit()
    >>> modes = result.ranef_new(new.head(4))
    >>> modes.values.round(1).to_dict("index")
    {'372': {'Intercept': 14.7, 'Days': 2.1}}
    >>> later = modes.get_prediction({"Days": [9], "Subject": ["372"]})
    >>> later.conf_int(obs=True).round(0).tolist()
    [[275.0, 480.0]]
    """
    fitted = results.fitted
    _refuse(fitted)
    if weights is None and fitted.fit.design.log_weights != 0.0:
        raise ValueError("the fit has weights; give those of the new rows by weights=")
    rows = new_rows(fitted, data, True, offset, True, "zero")
    if rows.frame is None:
        raise ValueError("data is to be a DataFrame with the response and all columns")
    y = new_response(fitted.model, rows.frame)
    precision = precision_of(fitted, rows, weights)
    terms = fitted.random.terms
    found = [level_labels(fitted, i, rows.frame) for i in range(len(terms))]
    fresh = np.zeros(len(rows), bool)
    lacking = np.isnan(y) | rows.missing
    for own, (codes, _) in zip(_given(rows), found, strict=True):
        fresh |= (own.codes == UNKNOWN) & (codes >= 0)
        lacking |= codes < 0
    use = np.flatnonzero(fresh & ~lacking)
    if not len(use):
        raise ValueError(
            "data has no complete row of a level that the fit had not; ranef() has the "
            "modes of those that it had"
        )
    new = _new_levels(fitted, rows, found, y, precision, use)
    named = list(new.labels)
    if group is None and len(named) > 1:
        raise ValueError(f"name one of the grouping factors: {', '.join(named)}")
    group, _ = terms_of(fitted, named[0] if group is None else group)
    if group not in new.labels:
        raise ValueError(f"data has no new level of {group!r}; it has of: {named}")
    return _labelled(fitted, new, group)


def _refuse(fitted):
    if fitted.fit.held is not None:
        raise ValueError(
            "modes of new levels are known for (restricted) maximum likelihood, not for "
            "fits with penalties or held parameters"
        )
    if not fitted.random.terms:
        raise ValueError("the model has no random effects")
    if fitted.fit.residual is not None:
        raise NotImplementedError(
            "modes of new levels are there for models without residual= and variance=; "
            "fit the model to all data, or predict with new_levels='zero'"
        )
    if fitted.model.components:
        raise ValueError(
            "the model has variance components of groups (vc_formula), whose new levels "
            "are not told by data; state them as terms in bars, such as (1 | group:label)"
        )


def _new_levels(fitted, rows, found, y, precision, use) -> _NewLevels:
    """Modes and errors from the rows that are used."""
    terms, fit = fitted.random.terms, fitted.fit
    labels: dict[str, pd.Index] = {}
    for term, own, (codes, levels) in zip(terms, _given(rows), found, strict=True):
        at = use[own.codes[use] == UNKNOWN]
        if len(at):
            labels.setdefault(term.group, levels[np.unique(codes[at])])
    first, size = [], 0
    for term in terms:
        first.append(size)
        size += len(labels.get(term.group, ())) * term.k
    if size > MOST_EFFECTS:
        raise ValueError(
            f"data has {size} random effects of new levels, more than {MOST_EFFECTS}; give "
            "the levels in several calls, or fit the model to all data"
        )
    z = _new_z(terms, rows, found, labels, first, size)[use]
    root = linalg.block_diag(
        *[
            np.kron(np.eye(len(labels.get(t.group, ()))), lam)
            for t, lam in zip(terms, _own_lams(fitted), strict=True)
        ]
    ).reshape(size, size)
    w = precision[use][:, None]
    turned = z @ root  # Z_n Lam
    inner = linalg.cho_factor(turned.T @ (w * turned) + np.eye(size), lower=True)
    half = root @ linalg.cho_solve(inner, turned.T * w.T)  # Lam C Lam'Z_n'W = A'
    within = root @ linalg.cho_solve(inner, root.T)
    gain = w * z - w * (turned @ linalg.cho_solve(inner, turned.T @ (w * z)))
    rest = y[use] - rows.mean(fitted)[use]
    given = [(np.maximum(own.codes[use], -1), own.z[use], None) for own in _given(rows)]
    known: Any = joint_errors(fit).known_of(random_rows(fit, given), len(use))
    known = known if known.nnz else None
    return _NewLevels(
        labels,
        first,
        half @ rest,
        half.T,
        gain,
        within,
        z,
        rows.exog[use][:, fitted.fixed.kept],
        known,
    )


def _given(rows: NewRows) -> list[TermRows]:
    """Rows of all terms: predictions here are given all of them."""
    return [own for own in rows.terms if own is not None]


def _own_lams(fitted):
    """Relative covariance factor (k, k) of every term in the units of the data."""
    return fitted.fit.design.own_lams(fitted.fit.theta)


def _new_z(terms, rows, found, labels, first, size):
    """Columns of the rows at the new effects, (n, Q)."""
    out = np.zeros((len(rows), size))
    for term, own, start, (codes, levels) in zip(
        terms, _given(rows), first, found, strict=True
    ):
        if term.group not in labels:
            continue
        place = _places(labels[term.group], codes, levels)
        at = np.flatnonzero((place >= 0) & (own.codes == UNKNOWN))
        for a in range(term.k):
            out[at, start + place[at] * term.k + a] = own.z[at, a]
    return out


def _places(labels, codes, levels):
    """Number among the new levels of every row, negative for none."""
    table = np.append(labels.get_indexer(levels), -1)
    return table[np.where(codes < 0, len(levels), codes)]


def _rows_of_fit(new: _NewLevels, by: np.ndarray) -> tuple[np.ndarray, Any]:
    """X_n'v and Z_k'v for vectors v over the new rows, as (m, rank) and (m, L K + m)."""
    known = None
    if new.known is not None:
        known = sparse.csr_array(sparse.csr_array(by) @ new.known)
    return by @ new.exog, known


def _labelled(fitted: Fitted, new: _NewLevels, group: str) -> NewModes:
    """The modes of one factor with their labels."""
    _, numbers = terms_of(fitted, group)
    names, labels = effect_names(fitted, numbers), new.labels[group]
    terms = fitted.random.terms
    at = np.concatenate(
        [
            new.first[i]
            + np.arange(len(labels))[:, None] * terms[i].k
            + np.arange(terms[i].k)
            for i in numbers
        ],
        axis=1,
    )
    x, known = _rows_of_fit(new, -new.weights.T)
    whole = new.within + joint_errors(fitted.fit).covariance(x, known)
    blocks = fitted.scale * whole[at[:, :, None], at[:, None, :]]
    values = pd.DataFrame(
        new.effects[at], index=pd.Index(labels, name=group), columns=names
    )
    index = pd.MultiIndex.from_product([labels, names], names=[group, "effect"])
    cov = pd.DataFrame(blocks.reshape(-1, len(names)), index=index, columns=names)
    summed = values.T.groupby(level=0, sort=False).sum().T
    fixed = fitted.fixed
    coef = pd.DataFrame(
        np.tile(fixed.estimate, (len(values), 1)), values.index, list(fixed.names)
    )
    for name in summed.columns:
        coef[name] = coef[name] + summed[name] if name in coef else summed[name]
    return NewModes(group, values, cov, coef, fitted, new)


def _prediction(
    fitted, new, exog, weights, row_labels, offset, new_levels, df_method
) -> MixedPrediction:
    check_choice(new_levels, "new_levels", NEW_LEVELS)
    choice = df_choice(df_method)
    settled = settled_choice(fitted, choice)
    if settled.df_method in KENWARD_ROGER:
        if df_method is not None:
            raise ValueError(
                f"df_method={settled.df_method!r} is for predictors whose coefficients "
                "have seen all rows, and those of the fit have not seen the rows of new "
                "levels; use df_method='satterthwaite', or fit the model to all data"
            )
        choice = df_choice("satterthwaite")
    tests = chosen_tests(fitted, choice)
    if fitted.settings.estimator != "nonrobust":
        raise ValueError("errors of random effects need cov_type='nonrobust'")
    rows = new_rows(fitted, exog, True, offset, True, "zero")
    precision = precision_of(fitted, rows, weights)
    rows, z, unknown = _with_new(fitted, new, rows, new_levels)
    mean = rows.mean(fitted) + z @ new.effects
    lost = np.isnan(mean)
    z = np.where(lost[:, None], 0.0, z)
    variance, slope = _errors(fitted, new, rows, z, lost)
    observed = variance + 1.0 / precision
    spread = tests.variance_covariance
    slope_obs = slope.copy()
    slope[:, -1], slope_obs[:, -1] = variance, observed
    df = satterthwaite_df(variance, slope, spread, tests, len(rows))
    df_obs = satterthwaite_df(observed, slope_obs, spread, tests, len(rows))

    def kept(values):
        return np.where(lost, np.nan, values)

    index = rows.index if row_labels is None else pd.Index(row_labels)
    if index is not None and len(index) != len(rows):
        raise ValueError(f"row_labels has {len(index)} labels for {len(rows)} rows")
    return MixedPrediction(
        mean,
        kept(fitted.scale * variance),
        kept(df),
        KINDS[np.where(unknown, 2, 1)],
        index,
        choice_in_words(fitted, choice),
        (kept(fitted.scale * observed), kept(df_obs)),
        **columns_of(fitted, rows),
    )


def _with_new(fitted, new: _NewLevels, rows: NewRows, policy: str):
    """Rows with the effects of new levels apart, their columns, and what is unknown."""
    terms = fitted.random.terms
    found = [level_labels(fitted, i, rows.frame) for i in range(len(terms))]
    z = _new_z(terms, rows, found, new.labels, new.first, len(new.effects))
    settled, unknown = [], np.zeros(len(rows), bool)
    for term, own, (codes, levels) in zip(terms, _given(rows), found, strict=True):
        place = np.full(len(rows), -1)
        if term.group in new.labels:
            place = _places(new.labels[term.group], codes, levels)
        has = (own.codes == UNKNOWN) & (place >= 0)
        other = (own.codes == UNKNOWN) & ~has
        if policy == "raise" and (other & (codes >= 0)).any():
            names = pd.unique(np.asarray(levels[codes[other & (codes >= 0)]], object))
            raise ValueError(
                f"exog has levels of {term.group!r} that neither the fit nor the data of "
                f"the new levels had: {', '.join(map(str, names[:5]))}; "
                "new_levels='zero' predicts them with random effects of zero"
            )
        if policy != "zero":
            own = replace(own, codes=np.where(other, MISSING, own.codes))
        else:
            unknown |= other
        # a level with modes has its effects in z: nothing is left for its prior
        own = replace(own, z=np.where(has[:, None], 0.0, own.z))
        settled.append(own)
    return replace(rows, terms=tuple(settled)), z, unknown


def _errors(fitted, new: _NewLevels, rows: NewRows, z, lost):
    """m of every row, and its derivatives by the variance parameters but the last."""
    errors, n = joint_errors(fitted.fit), len(rows)
    x = np.where(lost[:, None], 0.0, rows.exog)[:, fitted.fixed.kept]
    given = [
        (np.maximum(own.codes, -1), np.where(lost[:, None], 0.0, own.z), None)
        for own in _given(rows)
    ]
    random = random_rows(fitted.fit, given)
    own_known = errors.known_of(random, n)
    by = z @ new.weights.T  # A z_n, (n, rows)
    off_x, off_known = _rows_of_fit(new, by)
    x = x - off_x
    if off_known is not None:
        own_known = sparse.csr_array(own_known - off_known)
    random = replace(random, known=own_known, level=None, values=None)
    found = errors.errors(x, random, True)
    variance = found.variance + np.einsum("na,ab,nb->n", z, new.within, z)
    assert found.slope is not None
    slope = found.slope.copy()
    d = z - by @ new.z
    for r, image in _images(fitted, new, d):
        slope[:, r] += np.einsum("na,na->n", d, image)
        step_x, step_known = _rows_of_fit(new, image @ new.gain.T)
        sides = []
        for sign in (1.0, -1.0):
            known = own_known
            if step_known is not None:
                known = sparse.csr_array(own_known + sign * step_known)
            bare = replace(random, known=known, new=(None,) * len(random.new))
            sides.append(errors.errors(x + sign * step_x, bare).variance)
        slope[:, r] -= (sides[0] - sides[1]) / 2  # 2 (X_n'w, Z_k'w)'J k
    return variance, slope


def _images(fitted, new: _NewLevels, d):
    """Number r of each variance parameter, and B_r d in the units of the data, (n, Q)."""
    design, objective = fitted.fit.design, fitted.fit.objective
    for i, (term, structure) in enumerate(
        zip(fitted.random.terms, design.structures, strict=True)
    ):
        count = len(new.labels.get(term.group, ()))
        at = slice(new.first[i], new.first[i] + count * term.k)
        own = d[:, at].reshape(len(d), count, term.k)
        inverse = design.inverse_transforms[i]
        for r, basis in enumerate(structure.covariance_basis):
            if len(basis) == term.k and design.rotation is None:
                image = own @ (inverse @ basis @ inverse.T)
            else:  # levels of one variance
                image = own * (inverse[0, 0] ** 2 * basis[0, 0])
            whole = np.zeros_like(d)
            whole[:, at] = image.reshape(len(d), -1)
            yield objective.gamma_slices[i].start + r, whole
