"""The engine's fit of a generalized model with its rows, also after it was pickled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from mixedext.engine.generalized.fit import GeneralizedFit, make_deviance
from mixedext.engine.generalized.outer import inner_psi
from mixedext.fitted import Fitted

__all__ = ["live_engine"]


def live_engine(fitted: Fitted) -> GeneralizedFit:
    """The engine's fit with its rows, which a pickle has left out.

    Raises
    ------
    ValueError
        If the rows were removed.
    """
    fitted.need_rows()
    engine, model = fitted.generalized.engine, cast(Any, fitted.model)
    if engine.evaluation is not None:
        return engine
    made = fitted._of_fit.get("live engine")
    if made is None:
        design, rows = model.design_rows, model.likelihood_rows
        objective = make_deviance(design, rows, max(engine.n_agq, 1), engine.laplace)
        psi = np.concatenate([engine.theta, engine.coefficients, engine.kappa])
        made = fitted._of_fit["live engine"] = replace(
            engine,
            design=design,
            rows=rows,
            objective=objective,
            evaluation=objective.evaluate(inner_psi(objective, psi)),
        )
    return made
