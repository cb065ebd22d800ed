"""The arguments of ``MixedLM.fit``: statsmodels' are accepted, refused or passed over."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

from mixedext.arguments import check_reml, did_you_mean
from mixedext.exceptions import user_stacklevel
from mixedext.inference.fixed_effects.covariance_choice import (
    covariance_name,
    unknown_covariance,
)
from mixedext.inference.fixed_effects.df_methods import (
    ALIASES,
    DF_METHODS,
    KENWARD_ROGER,
    df_method_name,
)
from mixedext.other_names import FIT_ARGUMENTS

__all__ = ["check_fit_arguments", "is_known_covariance"]

# statsmodels' options of optimizers that mixedext does not have; maxiter is heeded.
OPTIMIZER_OPTIONS = {"gtol", "maxiter", "eps", "maxcor", "ftol", "tol", "disp", "maxls"}
# statsmodels' optimizers, and those that it refuses.
OPTIMIZERS = ("bfgs", "lbfgs", "cg", "powell", "nm", "basinhopping", "minimize")
REFUSED_OPTIMIZERS = ("newton", "ncg")
# What the criterion is called: of restricted and of ordinary maximum likelihood.
RESTRICTED, ORDINARY = ("reml", "remle", "restricted"), ("ml", "mle")
# statsmodels' own class passes over these with a warning.
PASSED_OVER = ("hc0", "hc1", "hc2", "hc3")


def check_fit_arguments(
    reml: Any,
    method: Any,
    df_method: Any,
    options: dict[str, Any],
    function: Callable[..., Any],
) -> None:
    """Check what ``fit`` was given.

    Parameters
    ----------
    reml : bool
        REML or ML.
    method : str or list of str or None
        Names of statsmodels' optimizers; any but those that it refuses.
    df_method : str or None
        One of ``DF_METHODS``, or an alias.
    options : dict
        Options of optimizers, and what is no argument.
    function : callable
        What was called, for the names of its arguments.

    Raises
    ------
    ValueError
        If a name or a value is not known, or Kenward-Roger is asked of a fit by maximum
        likelihood; names the argument and says what to write.
    """
    check_reml(reml)
    unknown = [name for name in options if name not in OPTIMIZER_OPTIONS]
    if unknown:
        raise ValueError(_unknown_argument(unknown[0], options[unknown[0]], function))
    maxiter = options.get("maxiter")
    if maxiter is not None and (not isinstance(maxiter, int) or maxiter < 0):
        raise ValueError(f"maxiter={maxiter!r} must be a whole number, 0 or more")
    if not isinstance(method, str | list | tuple | None):
        raise ValueError(f"method={method!r} must be a name or a list of names")
    for name in [method] if isinstance(method, str) else (method or []):
        _check_optimizer(name)
    if df_method_name(df_method) in KENWARD_ROGER and not reml:
        raise ValueError(
            f"df_method={df_method!r} needs reml=True; for a fit by maximum likelihood use "
            "df_method='satterthwaite'"
        )


def _check_optimizer(name):
    key = str(name).lower()
    if key in REFUSED_OPTIMIZERS:
        raise ValueError(f"method {name} not available for MixedLM")
    if key in OPTIMIZERS:
        return
    message = f"method={name!r} is no optimizer"
    if key in RESTRICTED + ORDINARY:
        raise ValueError(f"{message} but a criterion: write fit(reml={key in RESTRICTED})")
    if key.replace("_", "-") in {*DF_METHODS, *ALIASES}:
        raise ValueError(f"{message}: write df_method={name!r}")
    if covariance_name(key) is not None:
        raise ValueError(f"{message}: write cov_type={name!r}")
    listed = ", ".join(map(repr, OPTIMIZERS))
    raise ValueError(
        f"{message} of statsmodels ({listed}); none is needed, as the engine's own search "
        f"is used whatever the name: leave it out{did_you_mean(name, OPTIMIZERS)}"
    )


def _unknown_argument(name, value, function):
    """What is said of an argument that is not known: which is meant, or which there are."""
    key = name.lower()
    message = f"{function.__name__} has no argument {name!r}"
    if key in RESTRICTED + ORDINARY:
        yes = value if isinstance(value, bool) else True
        return f"{message}: write reml={yes == (key in RESTRICTED)}"
    own = [
        p.name
        for p in signature(function).parameters.values()
        if p.kind is not p.VAR_KEYWORD and p.name != "results"
    ]
    if key in FIT_ARGUMENTS and "df_method" in own:
        return f"{message}: {FIT_ARGUMENTS[key]}"
    own += sorted(OPTIMIZER_OPTIONS)
    return f"{message}{did_you_mean(name, own) or '; there are: ' + ', '.join(own)}"


def is_known_covariance(model: Any, cov_type: Any) -> bool:
    """Whether a ``cov_type`` is one of those that there are.

    Returns
    -------
    bool
        False only for what statsmodels passes over, in a model as it has them.

    Raises
    ------
    ValueError
        If it is not known.

    Warns
    -----
    FutureWarning
        If it is passed over.
    """
    if covariance_name(cov_type) is not None:
        return True
    said = unknown_covariance(cov_type)
    passed_over = isinstance(cov_type, str) and cov_type in PASSED_OVER
    if not (passed_over and model.stated_by_groups):
        raise ValueError(said)
    warnings.warn(
        "Argument cov_type not used by MixedLM.fit. Future versions will raise on these "
        f"arguments. The standard errors are those of the model: {said}",
        FutureWarning,
        stacklevel=user_stacklevel(),
    )
    return False
