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
that the variance m is not stationary in the weights: with k = (x.., z_k..) above,
d = z_n - Z_n'A z_n, w_r = V_n^-1 Z_n B_r d and k_r = (X_n'w_r, Z_k'w_r)

    dm / d gamma_r = that of the fit for k + d'B_r d - 2 k_r'J k.

The error at estimated variances follows as for the fit (Prasad and Rao 1990).  Let
M(gamma, gamma*) be the variance at gamma with the weights a of gamma*.  The error is
independent of the contrasts of y that the variances are estimated from, so that

    E M(gamma, est) = m + 1/2 sum W_rs M_rs**,
    E m(est) = m + 1/2 sum W_rs (2 M_rs.* + M_rs**),

m - sum W_rs M_rs.* is the estimate without bias, and for a = best weights that is
m + 2 sum W_rs S_rs.  Here, with d_o(k) the d of the fit for k,

    -1/2 M_rs.* = S_rs(k) + d_o(k_s)'B_r d_o(k) + w_s'Z_n B_r d,    -1/2 M_es.* = k_s'J k,

the last for the direction of V0 itself, of which the weights do not depend.

Beside a residual covariance the rows are those whitened by it at its estimate, of which
all holds.  By a parameter psi_r of it V_n moves by H_r (engine.residual.placed_rows): with
a = A z_n

    w_r = -V_n^-1 H_r a,    dm / d psi_r = that of the fit for k + a'H_r a - 2 k_r'J k

and in S_rs above w_s'V_n w_r stands for w_s'Z_n B_r d, which it is of gamma.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.arguments import check_choice
from mixedext.engine.information.expected import variance_information
from mixedext.engine.information.joint_errors import joint_errors, random_rows
from mixedext.engine.residual.joint_rows import Targets
from mixedext.engine.residual.own_variances import own_variances
from mixedext.engine.residual.placed_rows import whitening_of
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.fixed_effects.covariance_choice import (
    choice_in_words,
    chosen_tests,
    settled_choice,
)
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.prediction.fixed_rows import new_response
from mixedext.inference.prediction.mixed_prediction import check_df_method
from mixedext.inference.prediction.new_levels import (
    NewLevels,
    given_terms,
    image_of_basis,
    new_entries,
    new_levels_of,
    on_rows_of_fit,
)
from mixedext.inference.prediction.new_rows import (
    NEW_LEVELS,
    NewRows,
    new_rows,
    precision_of,
)
from mixedext.inference.prediction.prediction_result import (
    KINDS,
    MixedPrediction,
    columns_of,
)
from mixedext.inference.prediction.residual_errors import joint_rows, target_terms
from mixedext.inference.prediction.residual_places import (
    places_of_new_groups,
    places_of_observations,
)
from mixedext.inference.prediction.row_degrees import (
    curved_part,
    free_spread,
    satterthwaite_df,
)
from mixedext.inference.random_effects.modes import component_of, effect_names, terms_of
from mixedext.specification.data.known_levels import MISSING, UNKNOWN

__all__ = ["NewModes", "ranef_new"]


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
    _new: NewLevels

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
        information: str | None = None,
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
        df_method : {"satterthwaite", "kenward-roger", "residual", "z"}, optional
            Degrees of freedom; as the fit's tests if None.
        information : {"expected", "observed"}, optional
            Of Kenward and Roger's method.

        Returns
        -------
        MixedPrediction

        Raises
        ------
        ValueError
            If levels are new, and ``new_levels="raise"``; a weight is not positive; the
            method for the degrees of freedom does not go with random effects, or Kenward
            and Roger's is asked for a fit by maximum likelihood.
        """
        return _prediction(
            self._fitted,
            self._new,
            exog,
            weights,
            row_labels,
            offset,
            new_levels,
            df_choice(df_method, information),
        )


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
        The grouping factor or variance component; may be left out if only one has new
        levels.
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
        If no level is new, the fit has weights and none are given, or its parameters are
        held or penalized.  Or if the rows are of residual groups of the fit.
    FormulaError
        If the data lack a column; names it.  Or if columns of a variance component
        (``vc_formula``) in a row depend on the other rows of its group.

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
    residual = fitted.fit.residual
    of_rows = fitted.fit.design if residual is None else residual.deviance
    if weights is None and of_rows.log_weights != 0.0:
        raise ValueError("the fit has weights; give those of the new rows by weights=")
    rows = new_rows(fitted, data, True, offset, True, "zero")
    if rows.frame is None:
        raise ValueError("data is to be a DataFrame with the response and all columns")
    y = new_response(fitted.model, rows.frame)
    precision = precision_of(fitted, rows, weights)
    entries, places = new_entries(fitted, rows), None
    fresh, lacking = np.zeros(len(rows), bool), np.isnan(y) | rows.missing
    if residual is not None:
        places = places_of_new_groups(fitted, rows.frame, len(rows))
        lacking |= places.missing
    for own in entries:
        fresh[own.row] = True
        lacking |= own.lacks
    use = np.flatnonzero(fresh & ~lacking)
    if not len(use):
        raise ValueError(
            "data has no complete row of a level that the fit had not; ranef() has the "
            "modes of those that it had"
        )
    whitening = None
    if places is not None:
        whitening = _whitening(fitted, places.take(use), precision[use])
    new = new_levels_of(fitted, rows, entries, y, precision, use, whitening)
    terms = fitted.random.terms
    named = list(
        dict.fromkeys(t.group for t, v in zip(terms, new.labels, strict=True) if len(v))
    )
    if group is None and len(named) > 1:
        raise ValueError(f"name one of the grouping factors: {', '.join(named)}")
    group, numbers = terms_of(fitted, named[0] if group is None else group)
    if not len(new.labels[numbers[0]]):
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


def _whitening(fitted, places, precision):
    """Whitening of the rows of new levels; residual groups of the fit are refused."""
    residual = fitted.fit.residual
    bound = residual.bound
    known = np.flatnonzero(places.group < bound.n_groups)
    if bound.correlation is not None and len(known):
        label = bound.group_labels[places.group[known[0]]]
        raise ValueError(
            f"data has rows of new levels in the residual group {label!r} of the fit "
            f"({bound.spec}): they are correlated with rows of the fit, and the modes of "
            "both are to be estimated at once; fit the model to all data"
        )
    return whitening_of(bound, residual.psi, places, precision)


def _labelled(fitted: Fitted, new: NewLevels, group: str) -> NewModes:
    """The modes of one factor with their labels."""
    _, numbers = terms_of(fitted, group)
    labels, component = new.labels[numbers[0]], component_of(fitted, numbers)
    names = effect_names(fitted, numbers) if component is None else [component.name]
    at = np.concatenate(
        [
            new.first[i]
            + np.arange(len(labels))[:, None] * new.sizes[i]
            + np.arange(new.sizes[i])
            for i in numbers
        ],
        axis=1,
    )
    x, known = on_rows_of_fit(new, -new.weights.T)
    whole = new.within + joint_errors(fitted.fit).covariance(x, known)
    blocks = fitted.scale * whole[at[:, :, None], at[:, None, :]]
    levels = pd.Index(labels, name=group)
    if isinstance(labels, pd.MultiIndex) and component is not None:
        levels = labels.set_names([fitted.model.group_name, component.name])
    values = pd.DataFrame(new.effects[at], index=levels, columns=names)
    index = levels
    if component is None:
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
    fitted, new, exog, weights, row_labels, offset, new_levels, choice
) -> MixedPrediction:
    check_choice(new_levels, "new_levels", NEW_LEVELS)
    check_df_method(settled_choice(fitted, choice))
    tests = chosen_tests(fitted, choice)
    if fitted.settings.estimator != "nonrobust":
        raise ValueError("errors of random effects need cov_type='nonrobust'")
    rows = new_rows(fitted, exog, True, offset, True, "zero")
    precision = precision_of(fitted, rows, weights)
    rows, z, unknown = _with_new(fitted, new, rows, new_levels)
    mean = rows.mean(fitted) + z @ new.effects
    lost = np.isnan(mean)
    z = np.where(lost[:, None], 0.0, z)
    spread = free_spread(fitted.fit, tests)
    weight = spread if tests.adjusts else None
    curved = curved_part(settled_choice(fitted, choice).df_method)
    bent = fitted.fit.design.is_curved or fitted.fit.residual is not None
    if curved == "all" and bent and weight is not None:
        raise NotImplementedError(
            "df_method='kenward-roger-2009' is not there for predictions with modes of new "
            "levels beside structured random effects or residual=; use 'kenward-roger'"
        )
    variance, slope, rise = _errors(
        fitted, new, rows, z, lost, spread is not None, weight, curved
    )
    own, own_slope = _own_variance(fitted, rows, precision)
    observed = variance + own
    slope_obs = None
    if slope is not None:
        slope_obs = slope + own_slope
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
        kept(fitted.scale * (variance + rise)),
        kept(df),
        KINDS[np.where(unknown, 2, 1)],
        index,
        choice_in_words(fitted, choice),
        (kept(fitted.scale * (observed + rise)), kept(df_obs)),
        **columns_of(fitted, rows),
    )


def _with_new(fitted, new: NewLevels, rows: NewRows, policy: str):
    """Rows with the effects of new levels apart, their columns, and what is unknown."""
    n, entries = len(rows), new_entries(fitted, rows)
    z = new.columns(entries, n)
    settled, unknown = [], np.zeros(n, bool)
    for number, (own, found) in enumerate(zip(given_terms(rows), entries, strict=True)):
        has = found.places(new.labels[number]) >= 0
        other = found.lacks & (own.codes == UNKNOWN)
        other[found.row[~has]] = True
        if policy == "raise" and not has.all():
            names = pd.unique(np.asarray(found.keys[found.key[~has]], object))
            group, few = fitted.random.terms[number].group, ", ".join(map(str, names[:5]))
            raise ValueError(
                f"exog has levels of {group!r} that neither the fit nor the data of the "
                f"new levels had: {few}; new_levels='zero' predicts them with random "
                "effects of zero"
            )
        if policy != "zero":
            own = replace(own, codes=np.where(other, MISSING, own.codes))
        else:
            unknown |= other
        # what has modes has its values in z: nothing of them is left for the prior
        if own.new_square is None:
            known = np.ones(n, bool)
            known[found.row[has]] = False
            own = replace(own, z=np.where(known[:, None], own.z, 0.0))
        else:
            less = np.bincount(found.row[has], found.value[has] ** 2, minlength=n)
            square = np.where(other, own.new_square - less, 0.0)
            own = replace(own, new_square=square)
        settled.append(own)
    return replace(rows, terms=tuple(settled)), z, unknown


def _own_variance(fitted, rows, precision):
    """Variances of residuals of rows, and their derivatives by the variance parameters."""
    residual = fitted.fit.residual
    if residual is None:
        return 1.0 / precision, 0.0
    places = places_of_observations(fitted, rows)
    found = own_variances(residual.bound, residual.psi, places)
    own = np.where(places.missing, np.nan, found.whole) / precision
    n_gamma = variance_information(fitted.fit).n_gamma
    slope = np.zeros((len(rows), n_gamma + 1))
    at = slice(n_gamma - len(residual.psi), n_gamma)
    slope[:, at] = found.whole_slope / precision[:, None]
    return own, slope


class _OfFit:
    """Errors of combinations of coefficients and modes of the fit, for rows."""

    def __init__(self, fitted, new: NewLevels, rows: NewRows, lost):
        self.fitted, self.fit = fitted, fitted.fit
        self.beside = self.fit.residual is not None and new.known is None
        if self.beside:
            self.terms = target_terms(fitted, rows, lost)
            return
        given = [
            (
                np.maximum(own.codes, -1),
                np.where(lost[:, None], 0.0, own.z) if own.new_square is None else own.z,
                own.new_square,
            )
            for own in given_terms(rows)
        ]
        random = random_rows(self.fit, given)
        self.known = joint_errors(self.fit).known_of(random, len(rows))
        self.random = replace(random, level=None, values=None)

    def errors(self, x, off=None, slope=True, weight=None, curved="", prior=True):
        """Of x and the rows' own effects less ``off`` (known effects of the fit)."""
        if self.beside:
            targets = Targets(x, self.terms, None, np.ones(len(x)))
            return joint_rows(self.fitted).errors(targets, slope, weight, curved)
        known = self.known if off is None else sparse.csr_array(self.known - off)
        new = self.random.new if prior else (None,) * len(self.random.new)
        random = replace(self.random, known=known, new=new)
        if slope and self.fit.residual is not None:
            raise NotImplementedError(
                "degrees of freedom of predictions with modes of new levels beside "
                "residual= or variance= are there where the new rows have no random "
                "effects of the fit; use df_method='z' or 'residual'"
            )
        return joint_errors(self.fit).errors(x, random, slope, weight, curved)


def _errors(
    fitted, new: NewLevels, rows: NewRows, z, lost, slopes=True, spread=None, curved=""
):
    """m of every row, its derivatives by the variance parameters but the last, and what
    errors of these add by their covariance ``spread``, nothing without."""
    of_fit, slopes = _OfFit(fitted, new, rows, lost), slopes or spread is not None
    x = np.where(lost[:, None], 0.0, rows.exog)[:, fitted.fixed.kept]
    by = z @ new.weights.T  # A z_n, (n, rows)
    off_x, off_known = on_rows_of_fit(new, by)
    x = x - off_x
    found = of_fit.errors(x, off_known, slopes, spread, curved)
    variance = found.variance + np.einsum("na,ab,nb->n", z, new.within, z)
    if found.slope is None:
        return variance, None, np.zeros(len(rows))
    slope, rise = found.slope.copy(), np.zeros(len(rows))
    if found.rise is not None:
        rise += 2.0 * found.rise
    d = z - by @ new.z
    images = list(image_of_basis(fitted, new, d))
    moves = list(_moves(new, by, slope.shape[1] - 1))
    for r, image in images:
        slope[:, r] += np.einsum("na,na->n", d, image)
    for r, _, change in moves:  # a'H_r a, change = -H_r a
        slope[:, r] -= np.einsum("na,na->n", by, change)
    steps = ((r, image @ new.gain.T) for r, image in images)
    for r, step in chain(steps, ((r, step) for r, step, _ in moves)):
        step_x, step_known = on_rows_of_fit(new, step)
        sides = []
        for sign in (1.0, -1.0):
            off = off_known
            if step_known is not None:
                off = off_known - sign * step_known
            sides.append(
                of_fit.errors(x + sign * step_x, off, spread is not None, prior=False)
            )
        both = (sides[0].variance - sides[1].variance) / 4  # k_r'J k
        slope[:, r] -= 2.0 * both
        up, down = (side.slope for side in sides)
        if up is not None and down is not None and spread is not None:
            crossed = (up - down)[:, :-1] / 4  # d_o(k_r)'B d_o(k)
            rise += 2.0 * (crossed @ spread[:-1, r] + spread[-1, r] * both)
    if spread is not None:
        rise += _crossed_moves(new, images, moves, spread)
    return variance, slope, rise


def _moves(new, by, n_gamma):
    """Number r of each element of psi, w_r and V_n w_r = -H_r a of every row."""
    for r, matrix in enumerate(new.moves, n_gamma - len(new.moves)):
        change = -(by @ matrix)
        yield r, change - (change @ new.z) @ new.weights.T, change


def _crossed_moves(new, images, moves, spread):
    """2 sum W_rs w_s'V_n w_r of every row."""
    gram, out = new.z.T @ new.gain, 0.0
    for r, image in images:
        for s, other in images:
            own = np.einsum("na,ab,nb->n", image, gram, other)
            out = out + 2.0 * spread[r, s] * own
        for s, _, change in moves:  # w_r = V_n^-1 Z_n B_r d
            own = np.einsum("na,na->n", image @ new.gain.T, change)
            out = out + 4.0 * spread[r, s] * own
    for r, step, _ in moves:
        for s, _, change in moves:
            out = out + 2.0 * spread[r, s] * np.einsum("na,na->n", step, change)
    return out
