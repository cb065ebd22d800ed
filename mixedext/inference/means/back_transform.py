"""Transformations of a response, such as log(y), and the way back from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["ResponseTransform", "link_transform", "response_transform"]


@dataclass(frozen=True)
class ResponseTransform:
    """A transformed response eta = f(mu), seen from eta.

    Attributes
    ----------
    name : str
        As it is called, such as "log" or "log(mu + 1)".
    inverse, slope, curvature : callable
        mu, d mu / d eta and its second derivative, functions of eta.
    rate : float or None
        d log mu / d eta for logarithms, where differences of eta are ratios of mu.
    ratio : str
        What exp of a difference of eta is a ratio of, such as "odds", where it is one; of
        logarithms empty for the mean itself.
    quantity : str
        What mu is called: "response" of a transformed one, "probability" or "mean" of a
        generalized model.
    """

    name: str
    inverse: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    curvature: Callable[[Any], Any]
    rate: float | None = None
    ratio: str = ""
    quantity: str = "response"

    @property
    def makes_ratios(self) -> bool:
        """Whether differences of eta are logarithms of ratios."""
        return self.rate is not None or bool(self.ratio)

    @property
    def log_rate(self) -> float:
        """Logarithms of ratios by differences of eta.

        Raises
        ------
        ValueError
            If these are none.
        """
        if not self.makes_ratios:
            raise ValueError(f"{self.name} is no logarithm")
        return 1.0 if self.rate is None else self.rate

    def adjusted(self, sigma: float | None) -> ResponseTransform:
        """The way back with E mu = h(eta) + sigma^2 h''(eta) / 2 in place of h(eta).

        The slope that standard errors are made with is that of the sum, where h'' is
        a multiple of h or constant.
        """
        if sigma is None:
            return self
        half = sigma**2 / 2
        if (rate := self.rate) is not None:
            return replace(
                self,
                inverse=lambda eta: self.inverse(eta) + half * self.curvature(eta),
                slope=lambda eta: self.slope(eta) * (1 + half * rate**2),
            )
        return replace(
            self, inverse=lambda eta: self.inverse(eta) + half * self.curvature(eta)
        )


def link_transform(family: Any) -> ResponseTransform | None:
    """The link of a generalized model's family; None for the identity.

    Parameters
    ----------
    family : Family
        The family.
    """
    link = family.link
    if link.name == "identity":
        return None
    ratio = {"logit": "odds", "cloglog": "hazard", "log": ""}.get(link.name, "")
    if link.name == "log" and family.is_count:
        ratio = "rate"

    def part(name: str) -> Callable[[Any], Any]:
        return lambda eta: getattr(link.terms(np.asarray(eta, float)), name)

    rate = 1.0 if link.name == "log" else None
    return ResponseTransform(
        link.name,
        link.mean,
        part("first"),
        part("second"),
        rate,
        ratio,
        "probability" if family.has_trials else "mean",
    )


def _logarithm(name, base, added=0.0):
    rate = float(np.log(base)) if base is not None else 1.0
    return ResponseTransform(
        name,
        lambda eta: np.exp(rate * eta) - added,
        lambda eta: rate * np.exp(rate * eta),
        lambda eta: rate**2 * np.exp(rate * eta),
        rate,
    )


_BASES = {"log": None, "log2": 2.0, "log10": 10.0}
_CALL = re.compile(r"\s*(?:np\.|numpy\.)?(log|log2|log10|log1p|sqrt|exp)\s*\((.*)\)\s*")
_NAME = r"(?:`[^`]+`|[^\W\d][\w.]*|Q\(\s*(?:\"[^\"]*\"|'[^']*')\s*\))"
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_SUM = re.compile(
    rf"\s*(?:I\()?\s*(?:{_NAME}\s*([-+])\s*({_NUMBER})|({_NUMBER})\s*\+\s*{_NAME})\s*\)?\s*"
)


def response_transform(response: str) -> ResponseTransform | None:
    """The transformation of a formula's left-hand side, None if it is not a known one.

    Parameters
    ----------
    response : str
        Such as ``y``, ``np.log(y)``, ``log(y + 1)``, ``log2(y)``, ``log10(y)``,
        ``log1p(y)``, ``sqrt(y)``.

    Returns
    -------
    ResponseTransform or None
    """
    match = _CALL.fullmatch(response)
    if match is None:
        return None
    name, inside = match.groups()
    plain = re.fullmatch(rf"\s*{_NAME}\s*", inside)
    if name == "sqrt" and plain:
        return ResponseTransform(
            "sqrt",
            lambda eta: np.square(np.maximum(eta, 0.0)),
            lambda eta: 2 * np.maximum(eta, 0.0),
            lambda eta: np.full_like(np.asarray(eta, float), 2.0),
        )
    if name == "log1p" and plain:
        return _logarithm("log(mu + 1)", None, 1.0)
    if name in _BASES:
        if plain:
            return _logarithm(name, _BASES[name])
        added = _SUM.fullmatch(inside)
        if added is not None:
            sign, number, before = added.groups()
            constant = float(before or number) * (-1.0 if sign == "-" else 1.0)
            text = f"{'-' if constant < 0 else '+'} {abs(constant):g}"
            return _logarithm(f"{name}(mu {text})", _BASES[name], constant)
    return None
