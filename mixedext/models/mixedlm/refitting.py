"""The part of the model that fits other responses: ``refit`` and ``fit_many``."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from mixedext.arguments import check_count, check_reml
from mixedext.engine.refits.refit import (
    Refits,
    Responses,
)
from mixedext.exceptions import DesignError, ResponseWarning, user_stacklevel
from mixedext.inference.bootstrap.refits import (
    failed_row,
    labelled,
    refit_columns,
    sound_fits,
)
from mixedext.specification.data.alignment import warn_if_reordered

__all__ = [
    "Refitting",
]

# Share of a response's variance that is so small a residual variance that a look at the
# rows tells whether it is rounding error.
SUSPICIOUS = 1e-10


class Refitting:
    """Fits of the same model to other responses; all but one column of A is kept."""

    def refit(self, endog, reml=True, **fit_kwargs):
        """Fit the same model to another response.

        Parameters
        ----------
        endog : array_like
            Response, shape (nobs,) or one column: a value for each row that the model uses.
            Values are taken in their order; a Series with more rows than the model, such
            as a column of the data of which rows were left out, by its labels.
        reml : bool, optional
            REML (True) or ML.
        **fit_kwargs
            Other arguments of ``fit``.

        Returns
        -------
        MixedLMResultsWrapper
            The same as a new model with this response would give.

        Raises
        ------
        DesignError
            If the response is constant or explained exactly by X; a ValueError.
        ValueError
            If it has another shape, or missing values, or the rows are not in memory.

        Warns
        -----
        AlignmentWarning
            If a Series has the row labels of the data in another order.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> result = model.refit(data["Yield"] + 100)
        >>> round(float(result.fe_params.iloc[0]), 4)
        1627.5
        """
        y = self._new_responses(endog)
        if y.shape[1] != 1:
            raise ValueError(
                f"endog has {y.shape[1]} columns; fit_many fits many responses"
            )
        return self._with_response(y[:, 0].copy()).fit(reml=reml, **fit_kwargs)

    def fit_many(self, endog, reml=True, n_threads=1) -> Refits:
        """Fit the same model to many responses.

        Parameters
        ----------
        endog : array_like
            Responses, shape (nobs, R): a column each, a value for each row that the model
            uses.  Of a frame with more rows than the model, rows are taken by their labels.
        reml : bool, optional
            REML (True) or ML.
        n_threads : int, optional
            Threads that the responses are shared among.  The numbers do not depend on it.

        Returns
        -------
        Refits
            Estimates and verdicts, one row a response; ``to_frame()`` for a DataFrame.

        Raises
        ------
        ValueError
            If ``endog`` has another shape, or missing values, or the rows are not in
            memory.

        Warns
        -----
        ResponseWarning
            If responses are constant, or explained exactly: their rows are NaN, and not
            converged.
        AlignmentWarning
            If a frame has the row labels of the data in another order.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> many = model.fit_many(data[["Yield", "Yield"]])
        >>> many.llf.round(4).tolist(), many.n_failed
        ([-159.8271, -159.8271], 0)
        """
        check_reml(reml)
        check_count(n_threads, "n_threads")
        y = self._less_offset(self._new_responses(endog))
        refits, exact = sound_fits(self._responses(), y, bool(reml), n_threads)
        for r in np.flatnonzero(refits.scale < SUSPICIOUS * np.var(y, axis=0)):
            exact[r] = not self._leaves_variance(y[:, r], bool(reml))
            if exact[r]:
                for column, none in zip(
                    refit_columns(refits), failed_row(self._design), strict=True
                ):
                    column[r] = none[0]
        if exact.any():
            warnings.warn(
                f"{exact.sum()} of {len(exact)} responses are constant, or explained "
                f"exactly by the model ({_columns(endog, exact)}): they leave no variance "
                "to estimate. Their rows are NaN, and not converged",
                ResponseWarning,
                stacklevel=user_stacklevel(),
            )
        return labelled(self, refits)

    def _new_responses(self, endog):
        """Responses as a float array (nobs, R)."""
        self._need_rows()
        index = self.data.row_labels
        if isinstance(endog, pd.Series | pd.DataFrame) and index is not None:
            unique = endog.index.is_unique and index.is_unique
            if len(endog) > self.nobs and unique and index.isin(endog.index).all():
                endog = endog.loc[index]  # without the rows that the model left out
            warn_if_reordered(endog, index, "endog")
        try:
            y = np.asarray(endog, float)
        except (TypeError, ValueError):
            raise ValueError("endog must hold numbers only") from None
        y = y[:, None] if y.ndim == 1 else y
        if y.ndim != 2 or len(y) != self.nobs:
            raise ValueError(
                f"endog must have shape (nobs,) or (nobs, R) with nobs = {self.nobs}, the "
                f"rows that the model uses; got {np.shape(endog)}"
            )
        if y.size == 0:
            raise ValueError("endog has no columns")
        missing = ~np.isfinite(y).all(axis=0)
        if missing.any():
            where = f" ({_columns(endog, missing)})" if len(missing) > 1 else ""
            raise ValueError(f"endog holds missing or infinite values{where}")
        return y

    def _with_response(self, y):
        """The model with the response y (nobs,) in place of its own."""
        try:
            design = self._responses().design_of(self._less_offset(y[:, None])[:, 0])
        except DesignError:
            raise DesignError(
                "endog is constant or explained exactly by X: no variance is left to "
                "estimate"
            ) from None
        # copies of the objects, but of no array, and without pickling's detours
        model, data = object.__new__(type(self)), object.__new__(type(self.data))
        vars(model).update(vars(self))
        vars(data).update(vars(self.data))
        model.endog, model._design, model.data = y, design, data
        model.data.endog = model.endog
        original = self.data.orig_endog
        if isinstance(original, pd.Series | pd.DataFrame):
            original = pd.Series(model.endog, original.index, name=self.endog_names)
        else:
            original = model.endog
        model.data.orig_endog = original
        return model

    def _leaves_variance(self, y, reml):
        """Whether the model does not explain a response less offset exactly."""
        y = y if self.offset is None else y + self.offset
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the verdict, which is kept
            try:
                self._with_response(y).fit(reml=reml)
            except DesignError:
                return False
        return True

    def _less_offset(self, y):
        return y if self.offset is None else y - self.offset[:, None]

    def _responses(self):
        return Responses(self._design, self.exog, self.random_terms, self.weights)


def _columns(endog, which):
    """Names or numbers of some columns, not too many."""
    numbers = np.flatnonzero(which)
    names = getattr(endog, "columns", None)
    if names is None:
        shown, kind = [str(i) for i in numbers[:5]], "number"
    else:
        shown, kind = [repr(names[i]) for i in numbers[:5]], "column"
    more = ", ..." if len(numbers) > 5 else ""
    return f"{kind}{'s' if len(numbers) > 1 else ''} {', '.join(shown)}{more}"
