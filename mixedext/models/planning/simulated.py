"""Responses of a study that is not yet made, from a formula and given parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_count
from mixedext.calls import answering
from mixedext.engine.refits.simulation import generator_of
from mixedext.inference.bootstrap.simulated_refits import simulated_responses
from mixedext.models.planning.parameters import (
    law_of_residuals,
    read_parameters,
    read_residual,
)
from mixedext.specification.covariance.residual_binding import bind_stated
from mixedext.specification.data.columns import as_frame
from mixedext.specification.data.tables import data_frame
from mixedext.specification.data.weights import check_weights
from mixedext.specification.formula.bars import split_formula
from mixedext.specification.formula.model_frame import ModelFrame, model_frame
from mixedext.specification.formula.namespace import caller_namespace

__all__ = ["planned_frame", "simulate", "without_response"]

_NAME = "y"


@answering
def simulate(
    formula: str,
    data: Any,
    *,
    fe_params: Any = None,
    cov_re: Any = None,
    theta: Any = None,
    sigma: Any = None,
    n: int | None = None,
    rng: Any = None,
    weights: Any = None,
    offset: Any = None,
    missing: str = "none",
    residual: Any = None,
    variance: Any = None,
    residual_params: Any = None,
    eval_env: Any = None,
) -> pd.Series | pd.DataFrame:
    """Simulate responses of a mixed model from given parameters.

    Parameters
    ----------
    formula : str
        Fixed effects and random terms in bars; the response need not be a column of the
        data, and may be left out (``"~ x + (1 | g)"``).  Of a response such as
        ``log(y)`` the values simulated are those of the logarithm.
    data : DataFrame
        Covariates, factors and grouping factors.
    fe_params : dict or Series or array_like
        Fixed effects by name of the column, such as ``{"Intercept": 10, "x": 0.5}``, or
        all of them in their order.
    cov_re : dict or array_like, optional
        Covariance matrix of the random effects by grouping factor, a variance where there
        is one effect; of a single random term the matrix itself.  Where several terms
        have a factor they go by their labels, such as ``"(1 | g)"``.
    theta : array_like, optional
        In place of ``cov_re`` relative covariance factors, as lme4 has them.
    sigma : float
        Residual standard deviation.
    n : int, optional
        Number of responses; one Series if None.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    weights, offset : str or array_like, optional
        As for ``mixedlm``: the residual variance of a row is sigma^2 / w.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error, or are left out.
    residual, variance : optional
        As for ``mixedlm``.
    residual_params : dict, optional
        Parameters of these, relative to ``sigma``, by the names of
        ``model.residual.names``, such as ``{"rho": 0.5}``; those that the structure states
        (``mx.AR1(..., rho=0.5)``) may be left out.
    eval_env : int or Mapping, optional
        As for ``mixedlm``.

    Returns
    -------
    Series or DataFrame
        The response, with the row labels of the data; a column each if ``n`` is given.

    Raises
    ------
    FormulaError
        If the formula cannot be read or evaluated; a ValueError.
    ValueError
        If a parameter is lacking, not known, of the wrong shape or no covariance; names it
        and says what there is.

    See Also
    --------
    power : the power of a test for data such as these.

    Examples
    --------
    >>> import pandas as pd
    >>> import mixedext as mx
    >>> data = pd.DataFrame({"x": [0, 1, 2] * 4, "g": list("aaabbbcccddd")})
    >>> y = mx.simulate(
    ...     "y ~ x + (1 | g)",
    ...     data,
    ...     fe_params={"Intercept": 10, "x": 0.5},
    ...     cov_re={"g": 4.0},
    ...     sigma=1.0,
    ...     rng=1,
    ... )
    >>> y.name, len(y)
    ('y', 12)
    >>> mx.mixedlm("y ~ x + (1 | g)", data.assign(y=y)).fit().nobs
    12
    """
    if n is not None:
        check_count(n, "n")
    namespace = caller_namespace([formula], eval_env, depth=1)
    frame, name = planned_frame(
        formula, data, namespace, weights, offset, missing, residual, variance
    )
    bound = (
        None if frame.residual is None else bind_stated(frame.residual, len(frame.endog))
    )
    parameters = read_parameters(
        list(frame.exog.columns), frame.terms, fe_params, cov_re, theta, sigma
    )
    known = read_residual(bound, residual_params)
    mean = np.asarray(as_frame(frame.exog), float) @ list(parameters.fixed.values())
    y = simulated_responses(
        mean,
        frame.terms,
        parameters.roots,
        parameters.sigma,
        frame.weights,
        1 if n is None else int(n),
        generator_of(rng),
        None if bound is None else law_of_residuals(bound, known),
    )
    if frame.offset is not None:
        y += frame.offset[:, None]
    index = frame.data.index
    return pd.Series(y[:, 0], index, name=name) if n is None else pd.DataFrame(y, index)


def planned_frame(
    formula: str,
    data: Any,
    namespace: Mapping[str, Any],
    weights: Any = None,
    offset: Any = None,
    missing: str = "none",
    residual: Any = None,
    variance: Any = None,
) -> tuple[ModelFrame, str]:
    """Columns and random terms of a formula whose response need not be there.

    Returns
    -------
    frame : ModelFrame
        Its response is zero.
    name : str
        The response as the formula has it.
    """
    text, name, own = without_response(formula, data)
    own = own.assign(**{text.partition("~")[0].strip(): 0.0})
    frame = model_frame(
        text, own, namespace, weights=weights, offset=offset, missing=missing,
        residual=residual, variance=variance,
    )  # fmt: skip
    if frame.weights is not None:
        check_weights(frame.weights)
    return frame, name


def without_response(formula: str, data: Any) -> tuple[str, str, pd.DataFrame]:
    """The formula with a new name for the response, its response, and the data."""
    if isinstance(formula, str) and formula.lstrip().startswith("~"):
        formula = f"{_NAME} {formula.lstrip()}"
    response, frame = split_formula(formula).response, data_frame(data)
    stand_in = "response_"
    while stand_in in map(str, frame.columns) or stand_in in formula:
        stand_in += "_"
    right = formula[formula.index("~", formula.index(response) + len(response)) + 1 :]
    return f"{stand_in} ~ {right.strip()}", response, frame
