"""What the parameters of a residual covariance are called, here and by SAS.

``packed_names`` are those of ``params``: correlations by level of ``by``, then the variance
functions, relative to sigma^2.  ``natural_parameters`` are those that SAS prints: variances
instead of ratios, covariances of an unstructured matrix in the units of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.arma import ARMA
from mixedext.specification.covariance.autoregressive import AutoRegressive, ContinuousAR1
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.residual_curve import ResidualCurve
from mixedext.specification.covariance.residual_structure import ResidualStructure
from mixedext.specification.covariance.spatial import Spatial
from mixedext.specification.covariance.toeplitz import Toeplitz
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits

__all__ = ["NaturalParameter", "natural_parameters", "packed_names", "structure_name"]

# Kinds of spatial correlation as SAS calls them, those of which the parameter is the same.
_SP = {"exp": "SP(EXP)", "gau": "SP(GAU)", "spher": "SP(SPH)", "pow": "SP(POW)"}


@dataclass(frozen=True)
class NaturalParameter:
    """One natural parameter.

    Attributes
    ----------
    at : int
        Its place in ``ResidualCurve.natural`` of all levels together.
    level : int
        Level of ``by`` that it is looked at in; of those common to all the first.
    name : str
        What it is called.
    sas : str
        What SAS PROC MIXED calls it, or makes it of; empty for what SAS has not.
    kind : {"variance", "covariance", "correlation", "free"}
        What it is; "free" for what is mapped from its own element of psi.
    """

    at: int
    level: int
    name: str
    sas: str
    kind: str


def structure_name(spec: ResidualStructure) -> str:
    """What stands before the names of a structure's parameters."""
    text = spec.text_call
    if text.startswith("sp_"):
        return text
    return type(spec).__name__


def packed_names(bound: BoundResidual) -> list[str]:
    """Names of the parameters of a residual covariance in ``params``.

    Parameters
    ----------
    bound : BoundResidual
        The structure; names are in the order of ``bound.names``.
    """
    own = () if bound.correlation is None else bound.correlation.names
    prefix = "" if _has_own_names(bound) else f"{structure_name(bound.spec)} "
    names = [f"{prefix}{name}" for name in own]
    if bound.level_labels:
        names = [f"{name} ({label})" for label in bound.level_labels for name in names]
    return names + list(bound.names[len(names) :])


def _has_own_names(bound):
    return isinstance(bound.correlation, UnstructuredVisits)


def natural_parameters(
    bound: BoundResidual, curves: list[ResidualCurve]
) -> list[NaturalParameter]:
    """The natural parameters in the order in which they are printed.

    Parameters
    ----------
    bound : BoundResidual
        The structure.
    curves : list of ResidualCurve
        Of every level of ``by``.
    """
    chosen, first = curves[0].variances_of, curves[0]
    strata = [] if chosen is None else list(bound.strata_labels[chosen])
    variance = _sas_variance(bound)
    out = []
    if not strata:
        out.append(NaturalParameter(0, 0, "sigma^2", variance, "variance"))
    bases = [curve.base for curve in curves]
    for k, label in enumerate(strata):
        within = k - max(base for base in bases if base <= k)
        sas = f"Var({within + 1})" if bound.spec.is_het else variance
        out.append(NaturalParameter(k, 0, f"Var({label})", sas, "variance"))
    at = max(len(strata), 1)
    pairs = zip(first.functions, bound.strata_labels, strict=True)
    for number, (function, labels) in enumerate(pairs):
        if number == chosen:
            continue
        for name in function.names(labels):
            out.append(NaturalParameter(at, 0, name, "", "free"))
            at += 1
    if bound.correlation is None:
        return out
    for level, curve in enumerate(curves):
        label = f"{bound.level_labels[level]}: " if bound.level_labels else ""
        own = _correlations(bound.correlation, bound.spec.is_het, variance)
        start = int(curve.natural_at[1 + curve.n_sd]) if curve.n_own else at
        for k, (name, sas, kind) in enumerate(own):
            out.append(NaturalParameter(start + k, level, f"{label}{name}", sas, kind))
    if _has_own_names(bound) and (not strata or len(strata) == len(curves) > 1):
        out = _by_level(bound, curves, out)
    return out


def _by_level(bound, curves, parameters):
    """Of unstructured covariances the first variance of a level before its others."""
    variances = [p for p in parameters if p.kind == "variance" and p.name[:3] != "UN("]
    variances = variances[: max(len(curves), 1)]
    out = []
    for level, curve in enumerate(curves):
        first = next(p for p in variances if p.at == curve.base)
        label = f"{bound.level_labels[level]}: " if bound.level_labels else ""
        name = f"{label}UN(1,1)"
        out.append(NaturalParameter(first.at, level, name, "UN(1,1)", "variance"))
        out += [p for p in parameters if p not in variances and p.level == level]
    return out


def _sas_variance(bound):
    """What SAS makes the variance of a row of."""
    correlation = bound.correlation
    own = "Variance" if bound.level_labels else "Residual"
    if isinstance(correlation, CompoundSymmetry):
        return f"CS + {own}"
    if isinstance(correlation, Spatial) and correlation.nugget:
        return "Variance + Residual"
    return own


def _correlations(correlation, is_het, variance):
    """Names, SAS's names and kinds of the parameters of C."""
    names = correlation.names
    if isinstance(correlation, UnstructuredVisits):
        a, b = correlation.elements
        kinds = ["variance" if i == j else "covariance" for i, j in zip(a, b, strict=True)]
        return list(zip(names, names, kinds, strict=True))
    if isinstance(correlation, CompoundSymmetry):
        sas = ["CSH" if is_het else f"CS / ({variance})"]
        return list(zip(names, sas, ["free"], strict=True))
    if isinstance(correlation, Toeplitz):
        sas = [f"TOEP({k + 2}) / {variance}" for k in range(len(names))]
        if is_het:
            sas = [f"TOEPH({k + 1})" for k in range(len(names))]
        return [(name, s, "correlation") for name, s in zip(names, sas, strict=True)]
    if isinstance(correlation, AutoRegressive):
        return [(names[0], "ARH(1)" if is_het else "AR(1)", "free")]
    if isinstance(correlation, Antedependence):
        sas = [f"Rho({k + 1})" if is_het else "" for k in range(len(names))]
        return [(name, s, "free") for name, s in zip(names, sas, strict=True)]
    if isinstance(correlation, ContinuousAR1):
        return [(names[0], "SP(POW)", "free")]
    if isinstance(correlation, Spatial):
        sas = [_SP.get(correlation.kind, ""), "Residual / (Variance + Residual)"]
        return [(name, s, "free") for name, s in zip(names, sas, strict=False)]
    assert isinstance(correlation, ARMA)
    first = "Rho" if (correlation.p, correlation.q) == (1, 1) else ""
    alone = "free" if correlation.p <= 1 and correlation.q <= 1 else "plain"
    return [(name, first if name == "ar 1" else "", alone) for name in names]
