"""The covariance of the parameters of a generalized model: which, and which tests by it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from mixedext.arguments import check_choice, did_you_mean
from mixedext.exceptions import ClusterWarning, user_stacklevel
from mixedext.fitted import DfChoice, FitArguments, Fitted, InferenceSettings, has_rows
from mixedext.inference.fixed_effects.covariance_choice import check_cov_kwds, told_note
from mixedext.inference.fixed_effects.generalized_clusters import (
    KINDS,
    generalized_clusters,
)
from mixedext.models.glmm.estimates import Estimates
from mixedext.other_names import COVARIANCES

__all__ = ["covariance_name", "get_robustcov_results", "with_covariance"]

_NAMES = {
    "nonrobust": "nonrobust",
    "oim": "nonrobust",
    "conditional": "conditional",
    "cluster": "CR1",
    "cr0": "CR0",
    "cr1": "CR1",
}
_DESCRIPTIONS = {
    "nonrobust": "Inverse of the observed information on all parameters jointly.",
    "conditional": "(X'V^-1 X)^-1 given the covariances and the dispersion.",
    "CR0": "Robust to cluster correlation (CR0).",
    "CR1": "Robust to cluster correlation (CR1).",
}
_LISTED = "'nonrobust', 'conditional', 'cluster', 'CR0' or 'CR1'"
_OF_LINEAR = (
    "the corrections of CR2 and CR3 and their degrees of freedom are of linear models; "
    "write cov_type='cluster', with few clusters resample: bootstrap_parametric()"
)


def covariance_name(cov_type: Any) -> str:
    """The covariance that ``cov_type`` stands for.

    Raises
    ------
    ValueError
        If there is none of that name; says which there are.
    """
    if cov_type is None:
        return "nonrobust"
    text = isinstance(cov_type, str)
    key = re.sub(r"[\s_-]", "", cov_type).casefold() if text else ""
    if key in _NAMES:
        return _NAMES[key]
    message = (
        f"cov_type={cov_type!r} is not known for generalized mixed models; use {_LISTED}"
    )
    if key in ("cr2", "cr3", "crv3", "jackknife"):
        message += f": {_OF_LINEAR}"
    elif key in COVARIANCES:
        message += ": rows of one group are dependent, write cov_type='cluster'"
    elif text:
        message += did_you_mean(cov_type, _NAMES)
    raise ValueError(message)


def with_covariance(
    own: Estimates,
    model: Any,
    arguments: FitArguments,
    cov_type: str | None,
    cov_kwds: Mapping[str, Any] | None,
    use_t: bool | None,
) -> Fitted:
    """The record of a fit with the covariance and the tests that are asked for.

    Parameters
    ----------
    own : Estimates
        The estimates; their own covariance is passed over.
    model, arguments
        What was fitted, and how.
    cov_type, cov_kwds, use_t
        As for ``fit``.

    Raises
    ------
    ValueError
        If something is not known, or the covariance is not to be had.
    """
    name = covariance_name(cov_type)
    if not isinstance(cov_kwds, Mapping | None):
        raise ValueError(
            f"cov_kwds={cov_kwds!r} must map names to values: {{'groups': ...}}"
        )
    kwds = dict(cov_kwds or {})
    if name not in KINDS:
        if kwds:
            raise ValueError(
                f"cov_type={name!r} takes no cov_kwds; got {kwds!r}, which belongs to "
                "cov_type='cluster'"
            )
        settings = InferenceSettings(
            choice=DfChoice("residual" if use_t else "z"),
            use_t=bool(use_t),
            cov_type=name,
            cov_kwds={"description": _DESCRIPTIONS[name]},
        )
        return Fitted(own.with_covariance(name), model, settings, arguments)  # type: ignore[arg-type]
    return _clustered(own, model, arguments, name, cov_type, kwds, use_t)


def _clustered(own, model, arguments, kind, cov_type, kwds, use_t):
    check_cov_kwds(kwds, cov_type, True)
    check_choice(kwds.get("df", "clusters"), "df", ("clusters",))
    if not has_rows(model):
        raise ValueError(
            "a cluster-robust covariance needs the rows of the data: take it before "
            "remove_data()"
        )
    description = _DESCRIPTIONS[kind]
    if not kwds.get("use_correction", True):
        kind = "CR0"
    plain = Fitted(own.with_covariance("nonrobust"), model, arguments=arguments)  # type: ignore[arg-type]
    groups, scaling = kwds.get("groups"), kwds.get("scaling_factor")
    found = generalized_clusters(plain, kind, groups, scaling)
    adjust = kwds.get("df_correction") is not False
    counts = found.cluster.n_clusters
    settings = InferenceSettings(
        choice=DfChoice(None if use_t else "z"),
        use_t=bool(use_t),
        cov_type=cov_type,
        estimator=kind,
        cov_kwds={
            "description": description,
            "groups": groups,
            "use_correction": kind == "CR1",
            "adjust_df": adjust,
            "df": "clusters",
            "n_groups": counts[0] if len(counts) == 1 else counts,
            "use_t": bool(use_t),
            **({} if scaling is None else {"scaling_factor": scaling}),
        },
        cluster=found.cluster,
        df_resid_inference=min(counts) - 1 if adjust else None,
    )
    robust = plain.generalized.with_covariance(kind, found.engine)
    fitted = Fitted(robust, model, settings, arguments)
    unknown = told_note(fitted, found.cluster)
    if unknown:
        warnings.warn(
            f"{unknown}: NaN. cov_type='nonrobust' has the model's own",
            ClusterWarning,
            stacklevel=user_stacklevel(),
        )
    return fitted


def get_robustcov_results(
    results: Any, cov_type: str = "cluster", use_t: bool | None = None, **kwds: Any
) -> Any:
    """The same estimates with another covariance of the parameters.

    Parameters
    ----------
    cov_type : {"cluster", "CR0", "CR1", "nonrobust", "conditional"}, optional
        Robust to any dependence, and any law, within clusters ("cluster" is CR1); by the
        observed information on all parameters; or that of the fixed effects given the
        others.
    use_t : bool, optional
        t and F, with G - 1 degrees of freedom of G clusters, or the normal law.
    **kwds
        Of the cluster-robust types:

        ``groups`` : labels (array or Series), name of a column, an index level or a
        grouping factor; two of them in a list, or a frame or array with two columns, for
        two-way clusters.  They must hold whole levels of all grouping factors.  The
        grouping factor that all others are nested in if it is left out.

        ``use_correction`` : bool.  False turns the factor G / (G - 1) * (n - 1) / (n - p)
        of CR1 off, p the number of coefficients.

        ``df_correction`` : bool.  False leaves n - p degrees of freedom where there would
        be G - 1.

        ``scaling_factor`` : float.  Multiplies the covariance.

    Returns
    -------
    MixedGLMResultsWrapper

    Raises
    ------
    ValueError
        If the type or a keyword is not known, clusters cut levels of a grouping factor
        (crossed factors have no clusters but those that hold all of them), or the fit has
        ``n_agq=0``.

    Warns
    -----
    ClusterWarning
        If a two-way covariance is not positive semidefinite, or one cluster alone tells a
        coefficient: it has no standard error (NaN), nor has what rests on it.

    Notes
    -----
    The sandwich of the observed information and the exact derivatives of the clusters'
    log-likelihoods, by Laplace's approximation or the quadrature of the fit.  It covers
    all parameters: variances and the dispersion, population averages and predictions
    have robust errors, too.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.cbpp.load().data
    >>> formula = "incidence / size ~ period + (1 | herd)"
    >>> result = mx.glmm(formula, data, family="binomial", weights="size").fit()
    >>> robust = result.get_robustcov_results("cluster")
    >>> result.bse_fe.round(3).tolist()
    [0.232, 0.307, 0.327, 0.427]
    >>> robust.bse_fe.round(3).tolist()
    [0.305, 0.484, 0.546, 0.385]
    """
    fitted = results.fitted
    found = with_covariance(
        fitted.generalized, fitted.model, fitted.arguments, cov_type, kwds, use_t
    )
    return fitted.model._present(found)
