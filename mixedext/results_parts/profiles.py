"""Profile likelihood of the results: labels, frames, intervals and plots."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.engine.held_fit import HeldFit
from mixedext.exceptions import LowerDevianceWarning, user_stacklevel
from mixedext.inference.profile import Profile, profile_fit, refit_from
from mixedext.inference.profile_coordinates import ProfileModel
from mixedext.inference.profile_path import LowerDevianceError
from mixedext.results_parts.noted_table import NotedTable

__all__ = ["LikelihoodProfile", "ProfileIntervals", "parameter_names"]

# Distance of the points of a path in zeta: the spline through points and slopes is then
# within 1e-4 of zeta.
STEP = 0.6


def parameter_names(design, fixed_names) -> list[str]:
    """Names of all parameters: of each term, sigma, then the fixed effects kept.

    Parameters
    ----------
    design : Design
        The model.
    fixed_names : list of str
        Names of all columns of the fixed effects.
    """
    names = []
    for target in ProfileModel(design).targets():
        if target.kind == "sigma":
            names.append("sigma")
        elif target.kind == "fixed":
            names.append(fixed_names[design.basis.kept[target.rows[0]]])
        else:
            term = design.terms[target.term]
            effects = effect_names(term)
            own = ".".join(effects[a] for a in target.rows)
            kind = "sd" if target.kind == "sd" else "cor"
            names.append(f"{kind} {own}|{term.group}" if own else f"{kind} {term.group}")
    taken: dict[str, int] = {}
    for i, name in enumerate(names):
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            names[i] = f"{name}.{taken[name]}"
    return names


def effect_names(term) -> list[str]:
    """Names of the effects of a term; one empty name for a variance common to many."""
    if term.structure.name == "identity" and term.k != 1:
        return [""]
    return list(term.names)


@dataclass(eq=False)
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
    _profile: Profile = field(repr=False)
    _effects: dict = field(repr=False)
    _limits: dict = field(repr=False, default_factory=dict)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood at the estimates."""
        return self._profile.fit.deviance

    @property
    def n_evaluations(self) -> int:
        """Evaluations of the deviance and its derivatives."""
        return sum(c.evaluations for c in self._profile.curves)

    def _curve(self, name):
        if name not in self.names:
            raise ValueError(
                f"no profile of {name!r}; there are: {', '.join(map(repr, self.names))}"
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

    def spline(self, name: str):
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

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Likelihood intervals: the deviance rises by less than a chi-squared quantile.

        Limits are solved for, not interpolated.

        Parameters
        ----------
        level : float, optional
            Confidence level, at most that of the profile.

        Returns
        -------
        DataFrame
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
        if not 0 < level < 1:
            raise ValueError(f"level={level!r} must lie between 0 and 1")
        if level > self.level:
            raise ValueError(
                f"level={level!r} is above that of the profile, {self.level!r}; make the "
                f"profile with level={level!r}"
            )
        try:
            return self._intervals(level)
        except LowerDevianceError as lower:
            self._redo(lower)
        return self._intervals(level)

    def _redo(self, lower):
        """Profile again from a better fit that the search for a limit has found."""
        found = self._profile
        better = refit_from(found.model, lower)
        fall = found.fit.deviance - better.deviance
        targets = [c.target for c in found.curves]
        zeta_max = float(np.sqrt(stats.chi2.ppf(self.level, 1)))
        again = profile_fit(better, targets, zeta_max, STEP / 2)
        _warn_of_fall(fall + sum(again.falls), again.fit)
        self._profile, self._limits = again, {}
        values = again.model.values(again.model.fitted(again.fit))
        self.estimates = pd.Series(values, index=self.estimates.index, name="estimate")

    def _intervals(self, level):
        rows, notes = [], []
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

    def plot(self, name: str | None = None, ax=None, level: float = 0.95):
        """Zeta against the parameter: a straight line where a Wald interval would do.

        Parameters
        ----------
        name : str, optional
            The parameter; all of them, in a grid, if None.
        ax : Axes or array of Axes, optional
            Where to draw; new if None.
        level : float, optional
            Confidence level of the interval that is marked.

        Returns
        -------
        Figure
        """
        import matplotlib.pyplot as plt

        chosen = self.names if name is None else [name]
        curves = [self._curve(n) for n in chosen]
        if ax is None:
            columns = int(np.ceil(np.sqrt(len(chosen))))
            rows = -(-len(chosen) // columns)
            size = (3.2 * columns, 2.8 * rows)
            _, ax = plt.subplots(
                rows, columns, figsize=size, squeeze=False, layout="constrained"
            )
        axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
        if len(axes) < len(chosen):
            raise ValueError(f"ax has {len(axes)} axes for {len(chosen)} parameters")
        quantile = float(np.sqrt(stats.chi2.ppf(level, 1)))
        for own, label, curve in zip(axes, chosen, curves, strict=False):
            own.axhline(0.0, color="0.7", lw=0.8)
            for at in (-quantile, quantile):
                own.axhline(at, color="0.7", lw=0.8, ls="--")
            if len(curve.value) > 1:
                grid = np.linspace(curve.value[0], curve.value[-1], 201)
                own.plot(grid, curve.spline()(grid))
            own.plot(curve.value, curve.zeta, ".", color="C0")
            own.set_xlabel(label)
            own.set_ylabel("zeta")
        for own in axes[len(chosen) :]:
            own.set_visible(False)
        return axes[0].figure

    def __str__(self):
        return str(self.conf_int(min(0.95, self.level)))


class ProfileIntervals:
    """The part of the results that profiles the likelihood."""

    def profile(self, which=None, n_jobs=1, level=0.99, step=STEP) -> LikelihoodProfile:
        """Profile likelihood of standard deviations, correlations, sigma and fixed effects.

        The ordinary likelihood is maximized over all other parameters along a path of
        values of each one, also where the results are by REML.  A lower deviance that turns
        up on a path is where the model is fitted anew, with a warning.

        Parameters
        ----------
        which : str or list of str, optional
            Names of parameters, or "random" (standard deviations, correlations and sigma)
            and "fixed"; all if None.
        n_jobs : int, optional
            Processes of joblib's backend.  The numbers do not depend on it.
        level : float, optional
            Largest confidence level that intervals will be asked for.
        step : float, optional
            Distance of points, on the scale of zeta.

        Returns
        -------
        LikelihoodProfile

        Raises
        ------
        ValueError
            If a name or an argument is not known, or parameters were held or penalized.

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
        fit = self.engine_fit
        if isinstance(fit, HeldFit):
            raise ValueError(
                "parameters of these results were held or penalized; profiles are of the "
                "likelihood of all parameters"
            )
        if not 0 < level < 1:
            raise ValueError(f"level={level!r} must lie between 0 and 1")
        if not 0 < step <= 1:
            raise ValueError(f"step={step!r} must lie between 0 and 1")
        design = fit.design
        names = parameter_names(design, list(self.model.exog_names))
        targets = ProfileModel(design).targets()
        numbers = _chosen(which, names, targets)
        zeta_max = float(np.sqrt(stats.chi2.ppf(level, 1)))
        found = profile_fit(fit, [targets[i] for i in numbers], zeta_max, step, n_jobs)
        if found.falls:
            _warn_of_fall(sum(found.falls), found.fit)
        values = found.model.values(found.model.fitted(found.fit))
        effects = {
            names[i]: effect_names(design.terms[targets[i].term])
            for i in numbers
            if targets[i].term >= 0
        }
        return LikelihoodProfile(
            [names[i] for i in numbers],
            pd.Series(values, index=names, name="estimate"),
            level,
            bool(fit.reml),
            found,
            effects,
        )

    def _profile_conf_int(self, alpha, cols):
        """Profile intervals: fixed effects as in params, then what ``profile`` names."""
        level = 1 - alpha
        table = self.profile(level=max(level, 0.9)).conf_int(level)
        names = list(self.model.exog_names)
        variances = table.index[: len(table) - len(self.engine_fit.coefficients)]
        frame = pd.DataFrame(table).reindex([*names, *variances])
        frame.columns = [0, 1]
        out = frame if cols is None else frame.iloc[np.asarray(cols)]
        return NotedTable.of(out, table.heading, table.notes)


def _warn_of_fall(fall, fit):
    """Say that the profile rests on a better fit than the results."""
    warnings.warn(
        "the profile has found a deviance that is lower than that of the fit by "
        f"{fall:.6g}. Its estimates and intervals are those of a refit from there "
        f"(deviance {fit.deviance:.8g}); fit the model with that start: "
        f"fit(start_params=...), theta {np.round(fit.theta, 6)}",
        LowerDevianceWarning,
        stacklevel=user_stacklevel(),
    )


def _chosen(which, names, targets):
    """Numbers of the parameters asked for."""
    if which is None:
        return list(range(len(names)))
    wanted = [which] if isinstance(which, str) else list(which)
    numbers = []
    for name in wanted:
        if name == "random" and name not in names:
            numbers += [i for i, t in enumerate(targets) if t.kind != "fixed"]
        elif name == "fixed" and name not in names:
            numbers += [i for i, t in enumerate(targets) if t.kind == "fixed"]
        elif name in names:
            numbers.append(names.index(name))
        else:
            raise ValueError(
                f"which={name!r} is no parameter; there are: "
                f"{', '.join(map(repr, names))}, and 'random' and 'fixed' for many"
            )
    return sorted(set(numbers))
