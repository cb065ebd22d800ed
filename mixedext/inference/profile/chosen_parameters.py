"""Which parameters are profiled: by name, by number, or all that move."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mixedext.arguments import did_you_mean
from mixedext.engine.fit import Fit
from mixedext.fitted import Fitted
from mixedext.inference.profile.coordinates import Target
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = [
    "chosen_parameters",
    "moving_parameters",
    "refuse_beside_residual",
    "targets_in_order",
]


def chosen_parameters(
    parameters: Any,
    names: list[str],
    targets: Sequence[Target],
    terms: Sequence[RandomTerm | SparseTerm],
) -> list[int]:
    """Numbers of the parameters asked for, in the order of all."""
    if parameters is None:
        return list(range(len(names)))
    groups = _groups(targets, terms)
    single = isinstance(parameters, str | numbers.Integral) or not isinstance(
        parameters, Iterable
    )
    chosen: set[int] = set()
    for item in [parameters] if single else list(parameters):
        if isinstance(item, str) and item in names:
            chosen.add(names.index(item))
        elif isinstance(item, str) and item in groups:
            chosen.update(groups[item])
        elif _is_number(item) and -len(names) <= item < len(names):
            chosen.add(int(item) % len(names))
        else:
            others = [repr(g) for g, own in groups.items() if own and g not in _LME4S]
            raise ValueError(
                f"parameters={item!r} is no parameter; there are: "
                f"{', '.join(map(repr, names))}; many at once are {', '.join(others)}; "
                f"numbers go from 0 to {len(names) - 1}"
                f"{did_you_mean(item, [*names, *groups])}"
            )
    if not chosen:
        raise ValueError(
            f"parameters={parameters!r} names no parameter; leave it out for all"
        )
    return sorted(chosen)


_LME4S = "theta_", "beta_"


def _groups(
    targets: Sequence[Target], terms: Sequence[RandomTerm | SparseTerm]
) -> Mapping[str, list[int]]:
    """Numbers of parameters by what many have in common."""
    fixed = [i for i, t in enumerate(targets) if t.kind == "fixed"]
    random = [i for i, t in enumerate(targets) if t.kind not in ("fixed", "residual")]
    out = {"random": random, "fixed": fixed, "theta_": random, "beta_": fixed}
    residual = [i for i, t in enumerate(targets) if t.kind == "residual"]
    if residual:
        out["residual"] = residual
    for i, target in enumerate(targets):
        if target.term >= 0:
            out.setdefault(terms[target.term].group, []).append(i)
    return out


def _is_number(item: Any) -> bool:
    return isinstance(item, numbers.Integral) and not isinstance(item, bool)


def targets_in_order(bound: BoundResidual) -> list[Target]:
    """Parameters of a residual covariance in the order of ``params``."""
    n_sd = sum(f.n_psi for f in bound.functions)
    order = np.roll(np.arange(bound.n_parameters), -n_sd)
    return [Target("residual", -1, (int(k),)) for k in order]


def refuse_beside_residual(fitted: Fitted) -> None:
    """Random terms whose covariance is no curve that a profile can follow.

    Raises
    ------
    NotImplementedError
        Names residual= and what there is.
    """
    fitted.need_rows()
    fit = fitted.fit
    curved = any(not s.linear for s in fit.design.structures)
    if fit.is_singular or curved or _goes_by_fitted(fitted):
        assert fit.residual is not None
        why = "variance='power(fitted)' is no maximum of a likelihood"
        if not _goes_by_fitted(fitted):
            why = "a random term is singular, or its covariance is structured"
        raise NotImplementedError(
            f"profile of a model with residual={str(fit.residual.bound)!r}: {why}; "
            "conf_int has Wald's limits, bootstrap_parametric percentiles"
        )


def _goes_by_fitted(fitted: Fitted) -> bool:
    """Whether variances follow the fitted values."""
    residual = fitted.fit.residual
    return residual is not None and any(residual.bound.of_fitted)


def moving_parameters(
    fit: Fit,
    chosen: list[int],
    targets: Sequence[Target],
    names: Sequence[str],
    all_of_them: bool,
) -> list[int]:
    """Numbers of what moves: not what is held, or at an end of its range.

    Raises
    ------
    ValueError
        If one of these is asked for by name.
    """
    assert fit.residual is not None
    fixed = fit.residual.fixed_psi
    still = [
        i for i in chosen if targets[i].kind == "residual" and fixed[targets[i].rows[0]]
    ]
    if still and not all_of_them:
        raise ValueError(
            f"parameters={names[still[0]]!r} is held, or at an end of its range: there is "
            "no profile of it"
        )
    return [i for i in chosen if i not in still]
