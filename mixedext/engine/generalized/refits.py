"""Fits of a generalized model to other responses of the same rows.

What does not depend on the response (the basis of X, the pattern of Z'WZ) is made once, and
each search starts at the estimates of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mixedext.engine.generalized.boundary import flattened, is_singular
from mixedext.engine.generalized.fit import GeneralizedFit, make_deviance
from mixedext.engine.generalized.outer import outer_psi
from mixedext.engine.generalized.search import SearchEnd, search_minimum

__all__ = ["Refit", "Refitter"]

# Standard deviation at which a search starts that is zero in the fit: zero is a saddle.
FROM_ZERO = 0.2
# Fall foreseen at which the step is the last: what it leaves is of second order.
LAST_FALL = 1e-7


class Refit(NamedTuple):
    """Estimates from one response, in the units of the data.

    Attributes
    ----------
    coefficients, theta, kappa : ndarray
        As of ``GeneralizedFit``.
    deviance : float
        -2 log-likelihood; infinite where there is none.
    converged, is_singular : bool
        Verdicts.
    """

    coefficients: np.ndarray
    theta: np.ndarray
    kappa: np.ndarray
    deviance: float
    converged: bool
    is_singular: bool


class Refitter:
    """Fits of the model of a fit to other responses.

    Parameters
    ----------
    fit : GeneralizedFit
        The fit; its rows must be there.
    held : sequence of int, optional
        Elements of theta that stay at zero: with all of them the refits are of the
        generalized linear model.

    Notes
    -----
    Not for several threads at once: work arrays are shared by the refits.
    """

    def __init__(self, fit: GeneralizedFit, held: Sequence[int] = ()):
        self.fit = fit
        # arrays of its own, so that evaluations of the fit stay what they are
        self.design = fit.design.with_offset(fit.design.offset)
        self.n_agq = max(fit.n_agq, 1)
        self.start = _start(fit)
        self.start[list(held)] = 0.0
        count = len(self.start)
        self.free = np.setdiff1d(np.arange(count), list(held)) if len(held) else None
        self._last: Any = None

    def deviance(self, y: np.ndarray) -> Any:
        """The deviance of a response, as the family counts it."""
        rows = self.fit.rows.with_response(self.fit.rows.response.with_y(y))
        last = self._last
        if last is not None and hasattr(last, "with_rows"):
            return last.with_rows(rows)
        self._last = make_deviance(self.design, rows, self.n_agq, self.fit.laplace)
        return self._last

    def at_estimates(self, y: np.ndarray) -> Any:
        """The evaluation at the fit's parameters: the modes that a response has there."""
        return self.deviance(y).evaluate(self.fit.evaluation.psi, self._modes())

    def _modes(self):
        found = self.fit.evaluation
        same = getattr(found, "modes", None)
        return same if isinstance(same, np.ndarray) else None

    def search(self, y: np.ndarray) -> tuple[Any, SearchEnd]:
        """The deviance of a response, and the end of its search."""
        objective = self.deviance(y)
        end = self._searched(objective, self._modes())
        if end.failed and not np.isfinite(end.evaluation.value):
            end = self._searched(objective, None)
        flat = flattened(objective, end.evaluation)
        if flat is not None:
            end.evaluation = flat
        return objective, end

    def _searched(self, objective, modes):
        return search_minimum(
            objective, self.start, modes, self.free, LAST_FALL, last_steps=1
        )

    def refit(self, y: np.ndarray) -> Refit:
        """Estimates from a response."""
        objective, end = self.search(y)
        psi = end.evaluation.psi
        singular = is_singular(objective, psi)
        outer = outer_psi(objective, psi)
        theta, beta, kappa = objective.split(outer)
        value = float(end.evaluation.value)
        sound = np.isfinite(value) and not end.failed
        return Refit(beta, theta, kappa, value, bool(sound), singular)


def _start(fit):
    """The fit's parameters, variances of zero made positive."""
    objective = fit.objective
    theta, beta, kappa = objective.split(fit.evaluation.psi)
    parts = []
    for s, own in objective.parameters.parts(theta):
        size = np.linalg.svd(s.lam(own), compute_uv=False)
        if size[-1] < FROM_ZERO / 10:
            lam = s.lam(own)
            own = s.start(lam @ lam.T + FROM_ZERO**2 * np.eye(len(lam)))
        parts.append(own)
    return np.concatenate([*parts, beta, kappa])
