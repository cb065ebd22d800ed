"""The text forms of ``residual=`` and ``variance=``."""

from __future__ import annotations

from typing import Any

from mixedext.specification.covariance.residual_objects import (
    Independent,
)
from mixedext.specification.covariance.residual_structure import (
    ResidualStructure,
)
from mixedext.specification.covariance.variance_objects import (
    StatedVariance,
    VarianceProduct,
)

__all__ = ["read_structures", "read_variance"]


def read_structures(residual: Any, with_variance: bool) -> tuple[ResidualStructure, ...]:
    if residual is None:
        return (Independent(),) if with_variance else ()
    many = residual if isinstance(residual, list | tuple) else [residual]
    return tuple(_structure(one) for one in many)


def _structure(one):
    if isinstance(one, ResidualStructure):
        return one
    from mixedext.specification.covariance import residual_objects as o

    call, rest = one.strip()[:-1].split("(", 1)
    inside, group = (p.strip() for p in rest.split("|"))
    kinds = {"us": o.Unstructured, "ar1": o.AR1, "cs": o.CS, "toep": o.Toeplitz}
    kinds["ad"] = o.Antedependence
    het = call.endswith("h")
    kind = kinds[call.removesuffix("h")]
    visit = 1 if inside == "1" else inside
    return kind(visit, group=group, **({} if call == "us" else {"het": het}))


def read_variance(variance: Any) -> tuple[StatedVariance, ...]:
    if variance is None:
        return ()
    if isinstance(variance, VarianceProduct):
        return variance.parts
    return (variance,) if isinstance(variance, StatedVariance) else tuple(variance)
