"""The arguments of ``MixedLM.fit``: statsmodels' are accepted, refused or passed over."""

from __future__ import annotations

import warnings

from mixedext.arguments import check_reml
from mixedext.exceptions import user_stacklevel
from mixedext.inference.fixed_effects.df_methods import DF_METHODS, df_method_name

__all__ = [
    "DF_METHODS",
    "check_fit_arguments",
]

# statsmodels' options of optimizers that mixedext does not have; maxiter is heeded.
OPTIMIZER_OPTIONS = {"gtol", "maxiter", "eps", "maxcor", "ftol", "tol", "disp", "maxls"}


def check_fit_arguments(reml, method, df_method, options) -> None:
    """Check what ``fit`` was given.

    Parameters
    ----------
    reml : bool
        REML or ML.
    method : str or list of str or None
        Names of optimizers; any but those that statsmodels refuses.
    df_method : str or None
        One of ``DF_METHODS``, or an alias.
    options : dict
        Options of optimizers.

    Raises
    ------
    ValueError
        If a value is not known, or Kenward-Roger is asked of a fit by maximum likelihood;
        names the argument.

    Warns
    -----
    FutureWarning
        If an option is not known, as statsmodels does.
    """
    check_reml(reml)
    maxiter = options.get("maxiter")
    if maxiter is not None and (not isinstance(maxiter, int) or maxiter < 0):
        raise ValueError(f"maxiter={maxiter!r} must be a whole number, 0 or more")
    if not isinstance(method, str | list | tuple | None):
        raise ValueError(f"method={method!r} must be a name or a list of names")
    for name in [method] if isinstance(method, str) else (method or []):
        if str(name).lower() in ("newton", "ncg"):
            raise ValueError(f"method {name} not available for MixedLM")
    if df_method_name(df_method) == "kenward-roger" and not reml:
        raise ValueError(
            f"df_method={df_method!r} needs reml=True; for a fit by maximum likelihood use "
            "df_method='satterthwaite'"
        )
    unknown = sorted(set(options) - OPTIMIZER_OPTIONS)
    if unknown:
        warnings.warn(
            f"Argument{'s' if len(unknown) > 1 else ''} {', '.join(unknown)} not used by "
            "MixedLM.fit. Future versions will raise on these arguments.",
            FutureWarning,
            stacklevel=user_stacklevel(),
        )
