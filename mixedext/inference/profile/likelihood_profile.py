"""Profile likelihood of the results: labels, frames and intervals."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import stats
from scipy.interpolate import CubicHermiteSpline

from mixedext.arguments import check_jobs, confidence, did_you_mean
from mixedext.calls import answer_calls
from mixedext.engine.fit import Fit
from mixedext.exceptions import LowerDevianceWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.profiles import (
    plot_density,
    plot_pairs,
    plot_profiles,
    profile_density,
)
from mixedext.inference.profile.chosen_parameters import (
    chosen_parameters,
    moving_parameters,
    refuse_beside_residual,
    targets_in_order,
)
from mixedext.inference.profile.coordinates import ProfileModel
from mixedext.inference.profile.generalized_names import (
    generalized_profile,
    in_order_of_params,
)
from mixedext.inference.profile.path import LowerDevianceError
from mixedext.inference.profile.residual_profile import (
    ResidualValues,
    profile_residual_fit,
)
from mixedext.inference.profile.signed_root import (
    Curve,
    Limit,
    Profile,
    profile_fit,
    refit_from,
)
from mixedext.limits import SAME_LEVEL
from mixedext.specification.covariance.residual_parameters import packed_names
from mixedext.specification.terms.parameter_names import effect_names, parameter_names
from mixedext.specification.terms.structured import refuse_structured
from mixedext.tables.noted_table import NotedTable

__all__ = [
    "LikelihoodProfile",
    "on_the_scale_of_the_data",
    "profile",
    "profile_conf_int",
]

# Distance of the points of a path in zeta: the spline through points and slopes is then
# within 1e-4 of zeta.
STEP = 0.6


@answer_calls
@dataclass(eq=False, repr=False)
class LikelihoodProfile:
    """Profile likelihood of some or all parameters of a model.

    ``results.profile()`` makes one.

    Attributes
    ----------
    names : list of str
        The parameters profiled.
    estimates : Series
        Maximum-likelihood estimates of all parameters of the model.
    deviance : float
        -2 log-likelihood there.
    level : float
        Largest confidence level of intervals.
    refitted_by_ml : bool
        Whether the results were by REML: profiles are of the ordinary likelihood.
    """

    names: list[str]
    estimates: pd.Series
    level: float
    refitted_by_ml: bool
    _profile: Profile
    _effects: dict[str, list[str]]
    _step: float = STEP
    _limits: dict[tuple[str, float], tuple[Limit, Limit]] = field(default_factory=dict)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood at the estimates."""
        return self._profile.fit.deviance

    @property
    def n_evaluations(self) -> int:
        """Evaluations of the deviance and its derivatives."""
        return sum(c.evaluations for c in self._profile.curves)

    def _curve(self, name: str) -> Curve:
        if name not in self.names:
            raise ValueError(
                f"no profile of {name!r}; there are: {', '.join(map(repr, self.names))}"
                f"{did_you_mean(name, self.names)}"
            )
        return self._profile.curves[self.names.index(name)]

    @property
    def zeta(self) -> pd.DataFrame:
        """The points of the profiles.

        Returns
        -------
        DataFrame
            parameter, value, zeta (signed root of the rise of the deviance), deviance, and
            a column for every parameter of the model: its value where the likelihood is
            greatest given ``value``.
        """
        model, parts = self._profile.model, []
        for name, curve in zip(self.names, self._profile.curves, strict=True):
            values = np.array([model.values(p) for p in curve.points])
            own = pd.DataFrame(values, columns=self.estimates.index)
            own.insert(0, "parameter", name)
            own.insert(1, "value", curve.value, allow_duplicates=True)
            own.insert(2, "zeta", curve.zeta, allow_duplicates=True)
            own.insert(3, "deviance", curve.deviance, allow_duplicates=True)
            parts.append(own)
        return pd.concat(parts, ignore_index=True)

    def spline(self, name: str) -> CubicHermiteSpline:
        """Spline of zeta as a function of the parameter.

        Parameters
        ----------
        name : str
            One of ``names``.

        Returns
        -------
        CubicHermiteSpline
            Through the points with their exact slopes, monotone where the points are.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> spline = result.profile("sigma").spline("sigma")
        >>> bool(abs(spline(22.8982565) + 1.959964) < 1e-4)
        True
        """
        return self._curve(name).spline()

    def conf_int(self, alpha: float = 0.05, *, level: float | None = None) -> NotedTable:
        """Likelihood intervals: the deviance rises by less than a chi-squared quantile.

        Limits are solved for, not interpolated.

        Parameters
        ----------
        alpha : float, optional
            One minus the confidence level, which is at most that of the profile.
        level : float, optional
            The level itself, in place of ``alpha``.

        Returns
        -------
        NotedTable
            Columns lower and upper.  It prints notes on limits that are bounds (a standard
            deviation of 0, a correlation of -1 or 1), and on limits that do not exist,
            which are NaN.

        Raises
        ------
        ValueError
            If the level is not in (0, 1), or above that of the profile.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff2.load().data
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # the variance is estimated as zero
        ...     result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit(reml=False)
        >>> result.profile().conf_int()
        Profile likelihood intervals, 95%
                               lower     upper
        sd Intercept|Batch  0.000000  2.084048
        sigma               2.892845  4.815830
        Intercept           4.312837  7.018363
        sd Intercept|Batch, lower: the estimate is at the bound 0
        """
        level = confidence(alpha, level)
        if level > self.level + SAME_LEVEL:
            raise ValueError(
                f"level={level!r} is above that of the profile, {self.level!r}; make the "
                f"profile with level={level!r}"
            )
        try:
            return self._intervals(level)
        except LowerDevianceError as lower:
            self._redo(lower)
        return self._intervals(level)

    def _redo(self, lower: LowerDevianceError) -> None:
        """Profile again from a better fit that the search for a limit has found."""
        found = self._profile
        better = refit_from(found.model, lower)
        fall = found.fit.deviance - better.deviance
        targets = [c.target for c in found.curves]
        zeta_max = float(np.sqrt(stats.chi2.ppf(self.level, 1)))
        # closer points: those there were have missed a lower minimum between them
        again = profile_fit(better, targets, zeta_max, self._step / 2)
        _warn_of_fall(fall + sum(again.falls), again.fit)
        self._profile, self._limits = again, {}
        values = again.model.values(again.model.fitted(again.fit))
        self.estimates = pd.Series(values, index=self.estimates.index, name="estimate")

    def _intervals(self, level: float) -> NotedTable:
        rows, notes = [], list[str]()
        for name, curve in zip(self.names, self._profile.curves, strict=True):
            if (name, level) not in self._limits:
                self._limits[name, level] = curve.limits(self._profile.model, level)
            limits = self._limits[name, level]
            rows.append([limit.value for limit in limits])
            for side, limit in zip(("lower", "upper"), limits, strict=True):
                if limit.reason:
                    effects = self._effects.get(name, [])
                    notes.append(f"{name}, {side}: {limit.reason.format(effects=effects)}")
        frame = pd.DataFrame(rows, index=self.names, columns=["lower", "upper"])
        if self.refitted_by_ml:
            notes.append("The model, fitted by REML, was fitted again by ML.")
        heading = f"Profile likelihood intervals, {100 * level:.4g}%"
        return NotedTable.of(frame, heading, notes)

    def plot(
        self,
        parameters: str | Sequence[str] | None = None,
        ax: Any = None,
        *,
        level: float | None = None,
    ) -> Any:
        """Zeta against the parameter: a straight line where a Wald interval would do.

        Vertical lines are the limits of the interval, the dot in the middle the estimate.

        Parameters
        ----------
        parameters : str or list of str, optional
            The parameters; all of them if None.
        ax : Axes or array of Axes, optional
            Where to draw; a grid of new ones if None.
        level : float, optional
            Confidence level of the interval that is marked: 0.95, or that of the profile
            if it is lower, if None.

        Returns
        -------
        Figure

        Raises
        ------
        ValueError
            If a name or the level is not that of the profile, or axes are too few.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> figure = result.profile("random").plot()  # doctest: +SKIP
        """
        curves, limits, level = self._drawn(parameters, level)
        return plot_profiles(curves, limits, level, ax)

    def _drawn(self, parameters, level):
        """Curves of parameters, their limits and the level of these."""
        level = min(0.95, self.level) if level is None else level
        names = self.names if parameters is None else parameters
        names = [names] if isinstance(names, str) else names
        limits = self.conf_int(level=level)  # first: it may lead to a better fit
        return {name: self._curve(name) for name in names}, limits, level

    def density_data(self, parameters: str | Sequence[str] | None = None) -> pd.DataFrame:
        """What ``plot_density`` draws.

        Parameters
        ----------
        parameters : str or list of str, optional
            The parameters; all of them if None.

        Returns
        -------
        DataFrame
            parameter, value, density.
        """
        return profile_density(self._drawn(parameters, None)[0])

    def plot_density(
        self,
        parameters: str | Sequence[str] | None = None,
        ax: Any = None,
        *,
        level: float | None = None,
    ) -> Any:
        """The density that each profile stands for: phi(zeta) ``|d zeta / d parameter|``.

        Parameters
        ----------
        parameters, ax, level
            As for ``plot``; the interval is shaded.

        Returns
        -------
        Figure

        Raises
        ------
        ValueError
            If a name or the level is not that of the profile, or axes are too few.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> figure = result.profile("random").plot_density()  # doctest: +SKIP
        """
        curves, limits, _ = self._drawn(parameters, level)
        return plot_density(curves, limits, ax)

    def plot_pairs(
        self, parameters: str | Sequence[str] | None = None, ax: Any = None
    ) -> Any:
        """How the best value of each parameter moves with each other one.

        Of two parameters one line is the profile of the one, the other that of the other:
        at right angles where they are estimated independently.

        Parameters
        ----------
        parameters : list of str, optional
            The parameters, at most eight; all of them if None.
        ax : array of Axes, optional
            Where to draw, (k, k); a grid of new ones if None.

        Returns
        -------
        Figure

        Raises
        ------
        ValueError
            If a name is not that of a parameter of the profile, or they are too many.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> figure = result.profile("random").plot_pairs()  # doctest: +SKIP
        """
        curves, _, _ = self._drawn(parameters, None)
        return plot_pairs(curves, self.zeta, ax)

    def __repr__(self) -> str:
        return repr(self.conf_int(level=min(0.95, self.level)))

    def _repr_html_(self) -> str:
        return self.conf_int(level=min(0.95, self.level))._repr_html_()


def profile(
    results: HasFitted,
    parameters: Any = None,
    n_jobs: int | None = None,
    alpha: float = 0.01,
    step: float = STEP,
    *,
    level: float | None = None,
) -> LikelihoodProfile:
    """Profile likelihood of standard deviations, correlations, sigma and fixed effects.

    The ordinary likelihood is maximized over all other parameters along a path of
    values of each one, also where the results are by REML.  A lower deviance that turns
    up on a path is where the model is fitted anew, with a warning.

    Parameters
    ----------
    parameters : str, int or list of these, optional
        Names of parameters, or their numbers in the order of the table below; "random"
        (standard deviations, correlations and sigma; ``"theta_"`` as in lme4), "fixed"
        (``"beta_"``); a grouping factor, for its standard deviations and correlations.
        All if None.
    n_jobs : int, optional
        Jobs of joblib, each with its share of the parameters; by default what
        ``joblib.parallel_config`` says, or else one.  The numbers do not depend on it.
    alpha : float, optional
        One minus the largest confidence level that intervals will be asked for.
    step : float, optional
        Distance of points, on the scale of zeta.
    level : float, optional
        That level itself, in place of ``alpha``.

    Returns
    -------
    LikelihoodProfile

    Raises
    ------
    ValueError
        If a name or an argument is not known, or parameters were held or penalized.
    ImportError
        If joblib is asked for and not installed.

    Warns
    -----
    LowerDevianceWarning
        If the likelihood has a higher maximum than that of the results.

    References
    ----------
    Bates, Maechler, Bolker and Walker (2015), Fitting linear mixed-effects models using
    lme4, Journal of Statistical Software 67(1), section 5.1.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.profile().conf_int().round(2)
                                 lower   upper
    sd Intercept|Subject         14.38   37.72
    cor Intercept.Days|Subject   -0.48    0.69
    sd Days|Subject               3.80    8.75
    sigma                        22.90   28.86
    Intercept                   237.68  265.13
    Days                          7.36   13.58
    """
    fitted, fit = results.fitted, results.fitted.fit
    if fitted.generalized is not None:
        return _of_generalized(fitted, parameters, confidence(alpha, level), step)
    what = "The profile likelihood (profile(), conf_int(method='profile'))"
    instead = "conf_int(method='bootstrap') and bootstrap_parametric() are"
    refuse_structured(fitted.random.terms, what, instead)
    if fit.held is not None:
        raise ValueError(
            "parameters of these results were held or penalized; profiles are of the "
            "likelihood of all parameters"
        )
    level = confidence(alpha, level)
    check_jobs(n_jobs)
    if not (isinstance(step, numbers.Real) and 0 < float(step) <= 1):
        raise ValueError(
            f"step={step!r} must be a number above 0 and at most 1, such as {STEP}"
        )
    terms = fitted.random.terms
    names = parameter_names(terms, _kept_names(fitted))
    targets = ProfileModel(fit.design).targets()
    zeta_max = float(np.sqrt(stats.chi2.ppf(level, 1)))
    if fit.residual is not None:
        names += packed_names(fit.residual.bound)
        targets += targets_in_order(fit.residual.bound)
        refuse_beside_residual(fitted)
    chosen = chosen_parameters(parameters, names, targets, terms)
    if fit.residual is not None:
        chosen = moving_parameters(fit, chosen, targets, names, parameters is None)
        profiled = profile_residual_fit(fit, chosen, zeta_max, step)
        values = cast(ResidualValues, profiled.model).estimates()
        return LikelihoodProfile(
            [names[i] for i in chosen],
            pd.Series(values, index=names, name="estimate"),
            level,
            bool(fit.reml),
            profiled,
            {},
            step,
        )
    found = profile_fit(fit, [targets[i] for i in chosen], zeta_max, step, n_jobs)
    if found.falls:
        _warn_of_fall(sum(found.falls), found.fit)
    values = found.model.values(found.model.fitted(found.fit))
    effects = {
        names[i]: effect_names(terms[targets[i].term])
        for i in chosen
        if targets[i].term >= 0
    }
    return LikelihoodProfile(
        [names[i] for i in chosen],
        pd.Series(values, index=names, name="estimate"),
        level,
        bool(fit.reml),
        found,
        effects,
        step,
    )


def _of_generalized(
    fitted: Fitted, parameters: Any, level: float, step: float
) -> LikelihoodProfile:
    """The same of a generalized model, the dispersion in the place of sigma."""
    names, targets, values, found = generalized_profile(fitted, parameters, level, step)
    terms = fitted.random.terms
    effects = {
        n: effect_names(terms[t.term])
        for n, t in zip(names, targets, strict=True)
        if t.term >= 0
    }
    return LikelihoodProfile(names, values, level, False, found, effects, step)


def profile_conf_int(
    results: HasFitted, alpha: float, cols: Any, n_jobs: int | None = None
) -> NotedTable:
    """Intervals as ``on_the_scale_of_the_data`` has them."""
    level = 1 - alpha
    found = profile(results, n_jobs=n_jobs, level=max(level, 0.9))
    table = found.conf_int(level=level)
    if results.fitted.generalized is not None:
        return in_order_of_params(results.fitted, table, cols)
    rank = results.fitted.fixed.rank
    more = [n for n in table.index if n not in _plain_names(results.fitted)]
    count = len(table) - rank - len(more)
    limits = table.to_numpy()
    own, rest = limits[: count + rank], limits[count + rank :]
    frame = on_the_scale_of_the_data(results, own[count:], own[:count])
    if len(rest):
        frame = pd.concat([frame, pd.DataFrame(rest, index=more)])
    out = frame if cols is None else frame.iloc[np.asarray(cols)]
    return NotedTable.of(out, table.heading, table.notes)


def on_the_scale_of_the_data(
    results: HasFitted, fixed: np.ndarray, variances: np.ndarray
) -> pd.DataFrame:
    """Limits of fixed effects, then of standard deviations, correlations and sigma.

    Parameters
    ----------
    results : HasFitted
        The results.
    fixed : ndarray
        Limits of the fixed effects that were not dropped, (rank, 2).
    variances : ndarray
        Of the others, in the order of ``parameter_names``.

    Returns
    -------
    DataFrame
        Columns 0 and 1; NaN for fixed effects that were dropped.
    """
    fitted, kept = results.fitted, results.fitted.fixed.kept
    labels = list(fitted.fixed.names)
    names = parameter_names(fitted.random.terms, _kept_names(fitted))
    for j, name in zip(kept, names[len(variances) :], strict=True):
        labels[j] = name
    whole = np.full((len(labels), 2), np.nan)
    whole[kept] = fixed
    index = [*labels, *names[: len(variances)]]
    return pd.DataFrame(np.vstack([whole, variances]), index=index)


def _plain_names(fitted: Fitted) -> list[str]:
    """Names of all parameters but those of a residual covariance."""
    return parameter_names(fitted.random.terms, _kept_names(fitted))


def _kept_names(fitted: Fitted) -> list[str]:
    """Names of the fixed effects that were not dropped."""
    return [fitted.fixed.names[j] for j in fitted.fixed.kept]


def _warn_of_fall(fall: float, fit: Fit) -> None:
    """Say that the profile rests on a better fit than the results."""
    warnings.warn(
        "the profile has found a deviance that is lower than that of the fit by "
        f"{fall:.6g}. Its estimates and intervals are those of a refit from there "
        f"(deviance {fit.deviance:.8g}); fit the model with that start: "
        f"fit(start_params=...), theta {np.round(fit.theta, 6)}",
        LowerDevianceWarning,
        stacklevel=user_stacklevel(),
    )
