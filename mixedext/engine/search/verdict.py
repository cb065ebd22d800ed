"""The verdict on an optimum."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Convergence", "with_minima"]


@dataclass(frozen=True)
class Convergence:
    """Verdict on an optimum, from the gradient and curvature on the active set.

    Attributes
    ----------
    status : {"interior", "boundary", "flat", "failed"}
        An ordinary minimum; a minimum with some variance zero or correlation +-1; one
        that is not, along which some direction is undetermined; no minimum.
    gradient : float
        Largest absolute element of the gradient of the deviance in theta (columns of Z
        scaled to rms 1).
    decrement : float
        Fall of the deviance that one more Newton step would bring; where the derivatives
        after the last step were saved, estimated from how well that step was foreseen.
    curvature : float
        Smallest eigenvalue of the Hessian in theta, relative to the largest; elements of
        theta above 100 in units of themselves.
    n_evaluations, n_derivatives : int
        Evaluations of the deviance, and of its derivatives.
    method : str
        The optimizer that ended there.
    message : str
        The verdict in words, with advice where it is not clean.
    is_singular : bool
        Whether some variance is zero or some correlation +-1.
    is_flat : bool
        Whether the data leave some variance or covariance undetermined.  A minimum may be
        both singular and flat; ``status`` is then "boundary", and ``message`` says both.
    minima : tuple of float
        Deviances of all minima that were seen, the lowest first.
    found_from : str
        The kind of start that led to the lowest: "moments" of y (or lam = I), "other" ones,
        a "grid" of variances, the moments about the fixed effects "within" levels, a
        singular end that was left along its "boundary".
    others_may_exist : bool
        Whether there may be lower minima than those that were seen.
    is_unbounded : bool
        Whether the deviance is known to have no lower bound: where fixed and random effects
        together explain all of the response, it may fall without end as variances grow; by
        maximum likelihood it does so where they explain any response.

    has_lower_limit : bool
        Whether the deviance is known to be lower in the limit of no residual variance,
        which fixed and random effects that together explain all of the response allow.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> verdict = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit().convergence
    >>> bool(verdict), verdict.status
    (True, 'interior')
    """

    status: str
    gradient: float
    decrement: float
    curvature: float
    n_evaluations: int
    n_derivatives: int
    method: str
    message: str
    is_singular: bool = False
    is_flat: bool = False
    minima: tuple[float, ...] = ()
    found_from: str = "moments"
    others_may_exist: bool = False
    is_unbounded: bool = False
    has_lower_limit: bool = False

    @property
    def converged(self) -> bool:
        """Whether the optimum may be used."""
        return self.status != "failed"

    def __bool__(self) -> bool:
        return self.converged

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


def with_minima(verdict: Convergence, shift: float, reml: bool = False) -> Convergence:
    """A verdict with the deviances of the minima in the data's units, and words on them.

    Parameters
    ----------
    verdict : Convergence
        In the engine's units.
    shift : float
        What the deviance has more in the data's units.
    reml : bool, optional
        Restricted (True) or ordinary deviance.
    """
    minima = tuple(value + shift for value in verdict.minima)
    message = verdict.message
    if len(minima) > 1:
        others = ", ".join(f"{value:.8g}" for value in minima[1:])
        word = "a higher minimum lies" if len(minima) == 2 else "higher minima lie"
        message += (
            f"; the lowest of {len(minima)} minima that were seen, deviance "
            f"{minima[0]:.8g}: {word} at {others}"
        )
    if verdict.is_unbounded or verdict.has_lower_limit:
        message += "; " if verdict.status == "failed" else "; a local one: "
        message += (
            "fixed and random effects together explain all of the response of so few rows, "
            "and the deviance "
        )
    if verdict.is_unbounded:
        message += "falls without end as variances grow: leave out effects"
        message += "" if reml else ", or use reml=True"
    elif verdict.has_lower_limit:
        message += "is lower in the limit of no residual variance: leave out effects"
    elif verdict.others_may_exist:
        message += "; lower minima may exist: try other starts (start_params)"
    return replace(verdict, minima=minima, message=message)
