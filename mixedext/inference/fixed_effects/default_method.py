"""Degrees of freedom where none were asked for: by the kind of model, and what it costs."""

from __future__ import annotations

from mixedext.engine.information.cost import work_beside_fit
from mixedext.fitted import DfChoice, Fitted
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER
from mixedext.limits import MOST_TEST_WORK

__all__ = ["default_choice"]

_HELD = (
    "Normal law: parameters were held or penalized, and {} degrees of freedom are of "
    "(restricted) maximum-likelihood estimates"
)
_FAILED = (
    "Normal law: the fit has not converged, and Satterthwaite's degrees of freedom rest on "
    "the curvature at the maximum"
)
_COSTLY = (
    "Normal law: Satterthwaite's degrees of freedom would take about {:.0f} times the work "
    "of the fit; ask for them by df_method='satterthwaite'"
)
_NOT_REML = (
    "Satterthwaite's degrees of freedom: Kenward and Roger's are of REML fits, and this "
    "one is by maximum likelihood"
)


def default_choice(fitted: Fitted, option: str | None = None) -> tuple[DfChoice, str]:
    """The default method of a fit, and why it is not that of its kind of model.

    A model that ``groups=`` states has the normal law, as in statsmodels, but for one with
    a residual covariance; one without random terms residual degrees of freedom, which are
    exact where residuals are independent; any other Satterthwaite's, unless the parameters
    are not where the likelihood has its maximum, or the work would be out of all proportion
    to the fit's.

    Parameters
    ----------
    fitted : Fitted
        The fit; its settings are passed over.
    option : str, optional
        ``mx.options.df_method``, which takes the place of the kind of model, at any cost.

    Returns
    -------
    choice : DfChoice
        Complete.
    note : str
        A note of tables; empty where the method is that of the kind of model.
    """
    fit = fitted.fit
    name = option or _of_kind(fitted)
    if name in ("z", "residual") and (option or fit.held is None):
        return DfChoice(name), ""
    if fit.held is not None:
        return DfChoice("z"), "" if name == "z" else _HELD.format(_POSSESSIVE[name])
    if option is not None:
        if name in KENWARD_ROGER and not fit.reml:
            return DfChoice("satterthwaite"), _NOT_REML
        return DfChoice(name), ""
    if not fit.convergence.converged:
        return DfChoice("z"), _FAILED
    # beside a residual covariance the search has needed the same products
    work = work_beside_fit(fit.design) if fit.residual is None else 0.0
    if work > MOST_TEST_WORK:
        return DfChoice("z"), _COSTLY.format(work)
    return DfChoice(name), ""


_POSSESSIVE = {
    "satterthwaite": "Satterthwaite's",
    **dict.fromkeys(KENWARD_ROGER, "Kenward and Roger's"),
    "containment": "containment",
    "between-within": "between-within",
    "inner-outer": "inner and outer",
    "residual": "residual",
}


def _of_kind(fitted: Fitted) -> str:
    """The default of models that are stated alike."""
    if fitted.fit.residual is not None:
        return "satterthwaite"
    if not fitted.random.terms:
        return "residual"
    return "z" if fitted.model.stated_by_groups else "satterthwaite"
