"""Coefficients of the usual contrasts among k estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np

from mixedext.arguments import did_you_mean
from mixedext.inference.means.multiplicity import ADJUSTMENTS
from mixedext.limits import ZERO_SUM

__all__ = ["CONTRASTS", "Contrast", "contrast_coefficients", "orthogonal_polynomials"]

CONTRASTS = (
    "pairwise",
    "revpairwise",
    "trt.vs.ctrl",
    "trt.vs.ctrl1",
    "trt.vs.ctrlk",
    "consec",
    "mean_chg",
    "poly",
    "eff",
    "del.eff",
    "identity",
)
_POLY_NAMES = ("linear", "quadratic", "cubic", "quartic")


@dataclass(frozen=True, eq=False)
class Contrast:
    """A family of contrasts.

    Attributes
    ----------
    names : list of str
        One a contrast.
    coefficients : ndarray
        One row a contrast, (m, k).
    adjust : str
        Adjustment for multiplicity that goes with the family.
    all_pairs : bool
        Whether these are all pairwise differences, for which Tukey's method is made.
    custom : bool
        Whether the coefficients were given one by one.
    """

    names: list[str]
    coefficients: np.ndarray
    adjust: str = "none"
    all_pairs: bool = False
    custom: bool = False

    @property
    def sum_to_zero(self) -> bool:
        """Whether every row is a contrast in the strict sense."""
        sums = np.abs(self.coefficients.sum(axis=1))
        return bool((sums <= ZERO_SUM * np.abs(self.coefficients).sum(axis=1)).all())


def contrast_coefficients(
    method: Any, labels: Sequence[str], ref: Any = None, reverse: bool = False
) -> Contrast:
    """Contrasts of a named family, or of coefficients that are given.

    Parameters
    ----------
    method : str or dict or list
        One of ``CONTRASTS``; names and coefficient vectors; or a list of vectors.
    labels : list of str
        Names of the k estimates.
    ref : str or int or list, optional
        Control, by label or position, for "trt.vs.ctrl"; the first if None.  Of several
        the average is the control.
    reverse : bool, optional
        Differences the other way round (pairwise, trt.vs.ctrl, consec, mean_chg).

    Returns
    -------
    Contrast

    Raises
    ------
    ValueError
        If the method or the control is not known, a vector has the wrong length, or there
        are too few estimates.
    """
    labels, k = list(labels), len(labels)
    if not isinstance(method, str):
        return _custom(method, k)
    if method not in CONTRASTS:
        if method.lower() == "dunnett":
            raise ValueError("method='dunnett': write 'trt.vs.ctrl', and ref= the control")
        if method.lower() in ADJUSTMENTS:
            raise ValueError(
                f"method={method!r} is an adjustment for multiplicity, not a family of "
                f"contrasts; for all pairs write pairs(adjust={method.lower()!r}), or "
                f"contrast('pairwise', adjust={method.lower()!r})"
            )
        known = ", ".join(map(repr, CONTRASTS))
        raise ValueError(
            f"method={method!r} is not known; use one of {known}, or a dict of names and "
            f"coefficients{did_you_mean(method, CONTRASTS)}"
        )
    if ref is not None and not method.startswith("trt.vs.ctrl"):
        raise ValueError(f'ref= belongs to method "trt.vs.ctrl", not {method!r}')
    if method == "identity":
        return Contrast(labels, np.eye(k))
    if k < 2:
        raise ValueError(
            f"{method} contrasts need two estimates or more; there is {k} (a covariate "
            "stands at its mean: at={name: values} gives it several, emtrends its slope)"
        )
    if method in ("pairwise", "revpairwise"):
        return _pairwise(labels, (method == "revpairwise") != reverse)
    if method.startswith("trt.vs.ctrl"):
        if method[-1] in "1k":
            if ref is not None:
                raise ValueError(f"ref= does not go with method {method!r}")
            ref = 0 if method[-1] == "1" else k - 1
        return _against_control(labels, 0 if ref is None else ref, reverse)
    if method in ("consec", "mean_chg"):
        return _changes(labels, method, reverse)
    if method == "poly":
        table = orthogonal_polynomials(k, min(6, k - 1))
        names = [
            _POLY_NAMES[d - 1] if d <= len(_POLY_NAMES) else f"degree {d}"
            for d in range(1, len(table) + 1)
        ]
        return Contrast(names, table)
    coefficients = np.eye(k) - 1.0 / k
    if method == "del.eff":
        coefficients *= k / (k - 1)
    return Contrast([f"{label} effect" for label in labels], coefficients, "fdr")


def _custom(method, k):
    """Contrasts of coefficients given one by one, by name or in a list."""
    if isinstance(method, Mapping):
        names, vectors = list(map(str, method)), list(method.values())
    elif isinstance(method, list | tuple | np.ndarray):
        names, vectors = None, list(method)
        if vectors and np.ndim(vectors[0]) == 0:
            vectors = [vectors]
    else:
        raise ValueError(
            f"method={method!r}; use the name of a family, a dict of names and "
            "coefficients, or a list of vectors"
        )
    if not vectors:
        raise ValueError("method holds no contrast")
    rows = []
    for number, given in enumerate(vectors):
        name = names[number] if names else f"number {number + 1}"
        try:
            vector = np.asarray(given, float)
        except (TypeError, ValueError):
            raise ValueError(f"the coefficients of {name!r} are not numbers") from None
        if vector.shape != (k,):
            raise ValueError(
                f"contrast {name!r} has coefficients of shape {vector.shape}; there are "
                f"{k} estimates"
            )
        if not np.isfinite(vector).all():
            raise ValueError(f"the coefficients of {name!r} are not finite")
        rows.append(vector)
    names = names or [f"({', '.join(f'{c:g}' for c in row)})" for row in rows]
    return Contrast(names, np.array(rows), custom=True)


def _pairwise(labels, reverse):
    k = len(labels)
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    if reverse:
        pairs = [(j, i) for j in range(1, k) for i in range(j)]
    coefficients = np.zeros((len(pairs), k))
    for row, (plus, minus) in zip(coefficients, pairs, strict=True):
        row[plus], row[minus] = 1.0, -1.0
    names = [f"{labels[a]} - {labels[b]}" for a, b in pairs]
    return Contrast(names, coefficients, "tukey", all_pairs=True)


def _against_control(labels, ref, reverse):
    refs = list(ref) if isinstance(ref, list | tuple) else [ref]
    at = []
    for one in refs:
        if isinstance(one, str) and one in labels:
            at.append(labels.index(one))
        elif isinstance(one, int | np.integer) and -len(labels) <= one < len(labels):
            at.append(int(one) % len(labels))
        else:
            raise ValueError(
                f"ref={one!r} is neither a label nor a position (0 to {len(labels) - 1}); "
                f"labels are: {', '.join(labels)}{did_you_mean(one, labels)}"
            )
    others = [i for i in range(len(labels)) if i not in at]
    if not others:
        raise ValueError("ref names all estimates; nothing is left to compare")
    control = labels[at[0]]
    if len(at) > 1:
        control = f"avg({','.join(labels[i] for i in at)})"
    sign = -1.0 if reverse else 1.0
    coefficients = np.zeros((len(others), len(labels)))
    coefficients[:, at] = -sign / len(at)
    coefficients[np.arange(len(others)), others] = sign
    names = [_difference(labels[i], control, reverse) for i in others]
    return Contrast(names, coefficients, "dunnettx")


def _difference(first, second, reverse):
    return f"{second} - {first}" if reverse else f"{first} - {second}"


def _changes(labels, method, reverse):
    k = len(labels)
    coefficients = np.zeros((k - 1, k))
    for j, row in enumerate(coefficients):
        if method == "consec":
            row[j], row[j + 1] = -1.0, 1.0
        else:
            row[: j + 1], row[j + 1 :] = -1.0 / (j + 1), 1.0 / (k - j - 1)
    if method == "consec":
        names = [_difference(labels[j + 1], labels[j], reverse) for j in range(k - 1)]
    else:
        names = [f"{labels[j]}|{labels[j + 1]}" for j in range(k - 1)]
    return Contrast(names, -coefficients if reverse else coefficients, "mvt")


def orthogonal_polynomials(k: int, degree: int) -> np.ndarray:
    """Orthogonal polynomials over k equal steps, in the least whole numbers.

    Parameters
    ----------
    k : int
        Number of points.
    degree : int
        Highest degree, below k.

    Returns
    -------
    ndarray
        Row d - 1 has degree d, (degree, k); the last entry of each is positive.
    """
    # Gram's polynomials by their three-term recurrence, in exact fractions
    x = [Fraction(2 * i - (k - 1), 2) for i in range(k)]
    previous, current = [Fraction(0)] * k, [Fraction(1)] * k
    rows = []
    for d in range(1, degree + 1):
        ratio = Fraction((d - 1) ** 2 * (k**2 - (d - 1) ** 2), 4 * (4 * (d - 1) ** 2 - 1))
        following = [
            a * b - ratio * c for a, b, c in zip(x, current, previous, strict=True)
        ]
        previous, current = current, following
        scale = lcm(*(v.denominator for v in current))
        whole = [int(v * scale) for v in current]
        divisor = gcd(*whole)
        rows.append([v // divisor for v in whole])
    return np.array(rows, float)
