"""The criterion of a fit: about its minimum, and on the way there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import confidence, did_you_mean
from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.figures import (
    COLOURS,
    REFERENCE,
    check_rows,
    few_ticks,
    figure_of,
    label_axes,
    one_axes,
    panels,
    reference_line,
)
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.terms import parameter_names

__all__ = ["deviance_data", "fit_log_data", "plot_deviance", "plot_fit_log"]

# Rise of the deviance that a slice reaches, over the quantile of its level.
BEYOND = 1.6
# Steps by which the end of a slice is looked for, and what it at most changes by.
MOST_STEPS, FARTHEST = 40, 1e6


def deviance_data(
    results: HasFitted,
    name: str | Sequence[str] | None = None,
    alpha: float = 0.05,
    *,
    level: float | None = None,
    n: int = 41,
) -> pd.DataFrame:
    """What ``plot_deviance`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    name, alpha, level, n
        As for ``plot_deviance``.

    Returns
    -------
    DataFrame
        name, value, deviance; ``n`` rows a parameter, the estimate among them.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.search import deviance_data
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> frame = deviance_data(result)
    >>> bool(abs(frame["deviance"].min() - result.deviance) < 1e-8)
    True
    """
    fitted, level = results.fitted, confidence(alpha, level)
    if isinstance(n, bool) or int(n) != n or n < 5:
        raise ValueError(f"n={n!r}; it must be a whole number from 5")
    known = parameter_names.theta_names(fitted.random.terms)
    if not known:
        raise ValueError("the model has no random effects, and so no theta")
    names = known if name is None else [name] if isinstance(name, str) else list(name)
    wrong = [own for own in names if own not in known]
    if wrong:
        raise ValueError(
            f"name={wrong[0]!r} is not an element of theta; there are: "
            f"{', '.join(known)}{did_you_mean(wrong[0], known)}"
        )
    rise = BEYOND * float(stats.chi2.ppf(level, 1))
    roots, frames = _not_negative(fitted), []
    for own in names:
        number = known.index(own)
        curve = _slice(fitted, number)
        least = 0.0 if roots[number] else -np.inf
        value = _places(curve, float(fitted.fit.theta[number]), least, rise, int(n))
        found = [curve(x) for x in value]
        frames.append(pd.DataFrame({"name": own, "value": value, "deviance": found}))
    return pd.concat(frames, ignore_index=True)


def _slice(fitted: Fitted, number: int) -> Callable[[float], float]:
    """The profiled deviance in one element of theta, the others at the estimate."""
    design, theta = fitted.fit.design, np.array(fitted.fit.theta, float)
    reml = fitted.fit.reml
    objective = design.objective(reml)
    shift = design.deviance_shift(reml, objective.dof)

    def deviance(value):
        theta[number] = value
        return float(objective.value(design.inner_theta(theta)) + shift)

    return deviance


def _not_negative(fitted: Fitted) -> list[bool]:
    """Which elements of theta stand on the diagonal of lam: standard deviations."""
    out: list[bool] = []
    for term in fitted.random.terms:
        if not isinstance(term.structure, LinearStructure):
            out += term.structure.always_bends.tolist()
            continue
        basis = term.structure.lam_basis
        k = basis.shape[1]
        out += [not np.any(own[~np.eye(k, dtype=bool)]) for own in basis]
    return out


def _places(curve, middle, least, rise, n):
    """Values on both sides of the estimate, as far as the deviance rises by ``rise``."""
    bottom = curve(middle)
    ends = [
        _end(lambda step, s=sign: curve(middle + s * step) - bottom, middle, rise)
        for sign in (-1, 1)
    ]
    low = max(middle - ends[0], least)
    high = middle + ends[1]
    left = round((n - 1) * (middle - low) / (high - low))
    left = min(max(left, 2 if middle > low else 0), n - 3)
    below = np.linspace(low, middle, left + 1)[:-1]
    return np.concatenate([below, np.linspace(middle, high, n - left)])


def _end(rise_at, middle, rise):
    """Distance at which the deviance has risen by about ``rise``."""
    step, low, high = 0.1 * max(abs(middle), 0.1), 0.0, None
    for _ in range(MOST_STEPS):
        found = rise_at(step)
        if found < rise:
            low = step
        else:
            high = step
            if found < 1.5 * rise:
                break
        if high is None:
            if step > FARTHEST * max(abs(middle), 1.0):
                break
            step *= 2
        else:
            step = 0.5 * (low + high)
    return step


def plot_deviance(
    results: HasFitted,
    name: str | Sequence[str] | None = None,
    alpha: float = 0.05,
    *,
    level: float | None = None,
    n: int = 41,
    ax: Any = None,
) -> Any:
    """Slices of the deviance through the estimate, an element of theta at a time.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    name : str or list of str, optional
        Elements of theta, as in ``theta_names``; all if None.
    alpha, level : float, optional
        The dashed line is the estimate's deviance and the quantile of chi-squared with one
        degree of freedom at level = 1 - alpha.
    n : int, optional
        Number of values a slice.
    ax : Axes or array_like of Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no such element of theta, or too few axes.

    Notes
    -----
    The other elements of theta stay at their estimates; beta and sigma are the best for
    each value.  Slices are narrower than profiles (``profile().plot()``), in which all
    parameters are the best for each value.

    See Also
    --------
    mixedext.graphics.search.deviance_data : the numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> figure = result.plot_deviance()  # doctest: +SKIP
    """
    frame = deviance_data(results, name, alpha, level=level, n=n)
    fitted, level = results.fitted, confidence(alpha, level)
    known = parameter_names.theta_names(fitted.random.terms)
    groups = list(frame.groupby("name", sort=False))
    axes = panels(ax, len(groups), width=3.6, height=3.2, things="parameters")
    height = float(stats.chi2.ppf(level, 1))
    for one, (own, part) in zip(axes, groups, strict=True):
        at = float(fitted.fit.theta[known.index(own)])
        bottom = float(part["deviance"][part["value"] == at].min())
        one.axhline(bottom + height, **(REFERENCE | {"ls": "--"}))
        reference_line(one, x=at)
        one.plot(part["value"], part["deviance"], color=COLOURS[0])
        one.plot([at], [bottom], "o", color=COLOURS[0], ms=5)
        few_ticks(one, x=4, y=5)
        label_axes(one, str(own), "deviance")
    return figure_of(axes)


# ---- on the way ----


def fit_log_data(results: HasFitted) -> pd.DataFrame:
    """What ``plot_fit_log`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.

    Returns
    -------
    DataFrame
        evaluation, method, deviance, above (the least deviance), a row an evaluation.
    """
    own = results.fitted.generalized
    if own is None:
        log = results.fitted.fit.log
        deviance, method = np.asarray(log.deviance, float), list(log.method)
    else:
        deviance = np.array([one[0] for one in own.engine.log], float)
        method = ["newton"] * len(deviance)
    least = np.nanmin(deviance) if len(deviance) else np.nan
    columns = {
        "evaluation": np.arange(1, len(deviance) + 1),
        "method": method,
        "deviance": deviance,
        "above": deviance - least,
    }
    return pd.DataFrame(columns)


def plot_fit_log(results: HasFitted, ax: Any = None) -> Any:
    """The deviance by evaluation, above the least one.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the fit has no log: of a model without random effects, or of ``fit_many``.

    Notes
    -----
    The axis is logarithmic and ends at the rounding error of the deviance; the points of
    the least deviance stand there.

    See Also
    --------
    mixedext.graphics.search.fit_log_data : the numbers.
    fit_log : the whole log.
    """
    frame = fit_log_data(results)
    finite = frame[np.isfinite(frame["deviance"])]
    check_rows(finite, "evaluation in the log of the fit")
    ax = one_axes(ax)
    floor = max(np.spacing(finite["deviance"].abs().max()), np.finfo(float).tiny)
    shown = finite["above"].clip(lower=floor)
    ax.plot(finite["evaluation"], shown, color="0.7", lw=0.9, zorder=1)
    for i, (method, part) in enumerate(finite.groupby("method", sort=False)):
        ax.plot(
            part["evaluation"],
            shown[part.index],
            "o",
            color=COLOURS[i % len(COLOURS)],
            ms=5,
            label=str(method),
        )
    ax.set_yscale("log")
    top = max(float(shown.max()), 1e3 * floor)
    ax.set_ylim(floor / 3, 10 * top)
    ax.xaxis.get_major_locator().set_params(integer=True)
    last = int(frame["evaluation"].iloc[-1])
    ax.set_xlim(0.5, last + 0.5)
    ax.legend(frameon=False, loc="upper right", fontsize="small")
    convergence = results.fitted.fit.convergence
    title = f"{convergence.status}; deviance {finite['deviance'].min():.4f}"
    label_axes(ax, "evaluation", "deviance above the least", title, small=True)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return figure_of(ax)
