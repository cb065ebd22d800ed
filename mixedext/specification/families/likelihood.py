"""The likelihood of the rows of a model: family and response together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mixedext.kernels.generalized.families import (
    RowFamily,
    all_terms,
    canonical_terms,
    newton_terms,
)
from mixedext.specification.families.family import MOST_KAPPA, Family
from mixedext.specification.families.response import RowResponse

__all__ = ["Likelihood", "LikelihoodRows"]


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Derivatives of l_i = -log f(y_i) at linear predictors, (n,) each.

    Attributes
    ----------
    slope, weight, third : ndarray
        s, W and T: derivatives in eta.
    expected, expected_third : ndarray
        E(W) and its derivative in eta.
    loss_kappa, loss_kappa2 : float
        Derivatives in kappa of the sum of all l_i, constants included.
    slope_kappa, weight_kappa, expected_kappa : ndarray
        Derivatives in kappa of s, W and E(W).
    """

    slope: np.ndarray
    weight: np.ndarray
    third: np.ndarray
    expected: np.ndarray
    expected_third: np.ndarray
    loss_kappa: float = 0.0
    loss_kappa2: float = 0.0
    slope_kappa: Any = None
    weight_kappa: Any = None
    expected_kappa: Any = None


class LikelihoodRows:
    """The likelihood of rows as a function of their linear predictor and kappa.

    Parameters
    ----------
    family : Family
        The family.
    response : RowResponse
        The rows.
    """

    def __init__(self, family: Family, response: RowResponse):
        self.family, self.response = family, response

    @property
    def kernel(self) -> RowFamily:
        """The compiled loops."""
        return self.family.rows

    @property
    def arrays(self) -> tuple:
        """What the loops take of the rows: y, trials, prior weights and counts."""
        r = self.response
        return r.y, r.trials, r.weights, r.counts

    def kappa(self, kappa: Any) -> float:
        """The logarithm of the dispersion: estimated, given, or 0."""
        if self.family.kappa is not None:
            return self.family.kappa
        if not self.family.n_dispersion:
            return 0.0
        return float(min(max(kappa[0], -MOST_KAPPA), MOST_KAPPA))

    def with_response(self, response: RowResponse) -> LikelihoodRows:
        """The same family with other rows."""
        return LikelihoodRows(self.family, response)

    def newton(self, eta: np.ndarray, kappa: Any) -> tuple[float, np.ndarray, np.ndarray]:
        """Sum of l less its constants, s and W."""
        slope, weight = np.empty(len(eta)), np.empty(len(eta))
        k = self.kappa(kappa)
        loss = newton_terms(
            self.kernel, eta, *self.arrays, k, slope=slope, curvature=weight
        )
        return loss, slope, weight

    def _all(self, eta, kappa):
        eta = np.ascontiguousarray(eta, float)
        return all_terms(self.kernel, eta, *self.arrays, self.kappa(kappa))

    def expected_weight(self, eta: np.ndarray, kappa: Any) -> np.ndarray:
        """E(W)."""
        return self._all(eta, kappa)[4]

    def scoring(self, eta: np.ndarray, kappa: Any) -> tuple[float, np.ndarray, np.ndarray]:
        """Sum of l less its constants, s and E(W)."""
        loss, slope, weight = self.newton(eta, kappa)
        if not self.family.canonical:
            weight = self.expected_weight(eta, kappa)
        return loss, slope, weight

    @cached_property
    def _constants(self):
        return {}

    def constant(self, kappa: Any) -> float:
        """Sum of what of l does not depend on the linear predictor."""
        k = self.kappa(kappa)
        if k not in self._constants:
            self._constants.clear()
            y, m, w, _ = self.arrays
            parts = self.family.law.constant(y, m, w, k)
            self._constants[k] = float(self._summed(parts))
        return self._constants[k]

    def _summed(self, parts):
        return self._counted(parts).sum()

    def _counted(self, parts):
        """Parts of the rows, times prior weights and how often the rows count."""
        y, _, weights, counts = self.arrays
        parts = np.broadcast_to(parts, y.shape)
        if weights is not None and not self.family.law.weights_divide:
            parts = np.where(weights != 0, weights * parts, 0.0)
        if counts is not None:
            parts = np.where(counts != 0, counts * parts, 0.0)
        return parts

    def derivatives(
        self, eta: np.ndarray, kappa: Any, expected: bool = False
    ) -> Likelihood:
        """All derivatives; ``expected`` says that those of E(W) are wanted, too."""
        if self.kernel.fast:  # a canonical link: E(W) is W
            eta = np.ascontiguousarray(eta, float)
            slope, weight, third = canonical_terms(self.kernel, eta, *self.arrays)
            return Likelihood(slope, weight, third, weight, third)
        found = self._all(eta, kappa)
        first = {
            "slope": found[1],
            "weight": found[2],
            "third": found[3],
            "expected": found[4],
            "expected_third": found[5],
        }
        if not self.family.n_dispersion:
            return Likelihood(**first)
        k, law = self.kappa(kappa), self.family.law
        y, m, w, _ = self.arrays
        slopes, bends = law.constant_slopes(y, m, w, k)
        return Likelihood(
            **first,
            loss_kappa=float(found[6].sum() + self._summed(slopes)),
            loss_kappa2=float(self._second_kappa(eta, k) + self._summed(bends)),
            slope_kappa=found[7],
            weight_kappa=found[8],
            expected_kappa=found[9],
        )

    def _second_kappa(self, eta, k):
        """Sum of the second derivatives of l in kappa, less the constants'."""
        y, m, w, _ = self.arrays
        with np.errstate(all="ignore"):
            t = self.family.link.terms(np.asarray(eta, float))
            if m is None and self.family.has_trials:
                m = np.ones(len(y))
            return self._summed(
                self.family.law.terms(y, m, w, t.mean, t.rest, k).loss_kappa2
            )

    def log_density(self, eta: np.ndarray, kappa: Any = ()) -> np.ndarray:
        """log f of every row with all constants, times weights, (n,)."""
        y, m, w, _ = self.arrays
        constants = self.family.law.constant(y, m, w, self.kappa(kappa))
        return -(self._all(eta, kappa)[0] + self._counted(constants))

    def loss_kappa(self, eta: np.ndarray, kappa: Any) -> np.ndarray:
        """Derivatives in kappa of the l_i, constants included, (n,)."""
        y, m, w, _ = self.arrays
        slopes, _ = self.family.law.constant_slopes(y, m, w, self.kappa(kappa))
        return self._all(eta, kappa)[6] + self._counted(slopes)
