"""statsmodels' ModelData without its costs: no SVD of the rows, specification on demand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from statsmodels.base.data import (
    ModelData,
    PandasData,
    handle_data,
    handle_data_class_factory,
)

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.limits import FULL_RANK
from mixedext.specification.data.columns import ColumnTable, as_frame
from mixedext.specification.data.extremes import column_extremes
from mixedext.specification.formula.plain_formula import DeferredSpec
from mixedext.specification.formula.portable_spec import portable_spec

__all__ = ["model_data"]

# Below this many rows the ranks that tell of an implicit constant are computed by SVD.
_FEW_ROWS = 500


class _RowsData(ModelData):
    """What ModelData, for arrays or for pandas, does in another way here."""

    _spec: Any
    #: The groups' own random term, from which ``exog_re`` is made.
    main_term = None

    @property
    def exog_re(self):
        """Columns of the groups' own random effects, (n, k_re); None if there are none."""
        return None if self.main_term is None else self.main_term.z

    def __init__(self, endog, exog=None, missing="none", hasconst=None, **kwargs):
        self._extremes = kwargs.pop("exog_extremes", None)
        super().__init__(endog, exog, missing=missing, hasconst=hasconst, **kwargs)
        names = None
        if isinstance(exog, ColumnTable):
            names = list(exog.names)
        elif isinstance(exog, np.ndarray):
            names = self._array_names()
        if names is not None:
            self.xnames = names
        del self._extremes

    def _handle_constant(self, hasconst):
        """As ModelData's: which column is constant, or whether the columns span one."""
        self.k_constant, self.const_idx = 0, None
        if hasconst is False or self.exog is None:
            return
        if self._extremes is None:
            self._extremes = column_extremes(self.exog)
        pairs = zip(self._extremes[0].tolist(), self._extremes[1].tolist(), strict=True)
        constant = {j: low for j, (low, high) in enumerate(pairs) if low == high}
        ones = [j for j, value in constant.items() if value == 1]
        # else any constant that is not zero
        ones = ones or [j for j, value in constant.items() if value != 0]
        if ones:
            self.k_constant, self.const_idx = 1, ones[0]
        elif hasconst:
            self.k_constant = 1
        else:
            self.k_constant = int(_spans_constant(self.exog))

    def _array_names(self):
        """ModelData's names of columns of arrays, "const" and x1, x2...; None if unsure."""
        exog = self.orig_exog
        if self._extremes is None:
            return None
        low, high = self._extremes
        constant = low == high
        # statsmodels asks whether the computed variance is zero
        sure = (low == np.round(low)) & (np.abs(low) < 1e6)
        if exog.dtype.names or (constant & ~sure).any() or exog.dtype != np.float64:
            return None
        if ((high - low < 1e-150) & ~constant).any():
            return None
        count = len(low)
        if not constant.any():
            return [f"x{i}" for i in range(1, count + 1)]
        names = [f"x{i}" for i in range(1, count)]
        names.insert(int(np.argmax(constant)), "const")
        return names

    def __getstate__(self):
        state = dict(self.__dict__)
        spec = state.pop("_spec", None)
        if getattr(self, "frame", None) is None or type(spec) is DeferredSpec:
            spec = portable_spec(spec)
            if spec is not None:
                state["_spec"] = spec
        return state  # with the frame the model makes patsy's again

    def __setstate__(self, state):
        self.__dict__.update(state)

    @property
    def has_spec(self) -> bool:
        """Whether there is a specification, perhaps still to be made."""
        return "_spec" in self.__dict__

    def _get_spec(self):
        if "_spec" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no {SPEC_ATTRIBUTE}")
        spec = self._spec
        return spec.resolve() if isinstance(spec, DeferredSpec) else spec

    def _set_spec(self, spec):
        self.__dict__["_spec"] = spec

    def _delete_spec(self):
        if "_spec" not in self.__dict__:
            raise AttributeError(SPEC_ATTRIBUTE)
        del self.__dict__["_spec"]


setattr(
    _RowsData,
    SPEC_ATTRIBUTE,
    property(
        _RowsData._get_spec,
        _RowsData._set_spec,
        _RowsData._delete_spec,
        "The formula engine's specification of the fixed part.",
    ),
)


class ArrayRowsData(_RowsData):
    """Data of a model from arrays."""


class PandasRowsData(_RowsData, PandasData):
    """Data of a model from pandas objects."""

    @property
    def orig_exog(self):
        """The fixed-effects columns as they came; a table becomes a data frame here."""
        exog = self.__dict__["orig_exog"] = as_frame(self.__dict__["orig_exog"])
        return exog

    @orig_exog.setter
    def orig_exog(self, exog):
        self.__dict__["orig_exog"] = exog

    def _get_row_labels(self, arr):
        return None if arr is None else super()._get_row_labels(arr)  # without rows

    def _convert_endog_exog(self, endog, exog=None):
        if isinstance(endog, pd.Series):  # numpy.asarray would take ten times as long
            endog = endog.to_numpy()
        if isinstance(exog, pd.DataFrame):
            exog = exog.to_numpy(dtype=float)
        elif isinstance(exog, ColumnTable):
            exog = exog.values
        return super()._convert_endog_exog(endog, exog)

    def _check_integrity(self):
        if isinstance(
            self.__dict__["orig_exog"], ColumnTable
        ):  # made with the response's index
            ModelData._check_integrity(self)
        else:
            super()._check_integrity()


_KNOWN = (list, tuple, np.ndarray, pd.Series, pd.DataFrame, ColumnTable)
_OURS = {ModelData: ArrayRowsData, PandasData: PandasRowsData}


def model_data(
    endog: Any,
    exog: Any,
    hasconst: bool | None = None,
    exog_extremes: tuple[np.ndarray, np.ndarray] | None = None,
    **kwargs: Any,
) -> ModelData:
    """statsmodels' handle_data for models that have their rows settled.

    Parameters
    ----------
    endog, exog : array_like
        Response and fixed-effects columns, or None.
    hasconst : bool, optional
        As in statsmodels.
    exog_extremes : tuple of ndarray, optional
        Least and greatest value of each column, if they are known.
    """
    if not isinstance(endog, _KNOWN) or not isinstance(exog, (*_KNOWN, type(None))):
        return handle_data(endog, exog, "none", hasconst, **kwargs)
    endog = np.asarray(endog) if isinstance(endog, list | tuple) else endog
    exog = np.asarray(exog) if isinstance(exog, list | tuple) else exog
    table = isinstance(exog, ColumnTable)
    kind = PandasData if table else handle_data_class_factory(endog, exog)
    if kind in _OURS:
        kwargs["exog_extremes"] = exog_extremes
    return _OURS.get(kind, kind)(endog, exog=exog, hasconst=hasconst, **kwargs)


def _spans_constant(exog):
    """Whether a combination of the columns is constant: rank of [1 X] against that of X.

    As statsmodels says it, by matrix_rank of the rows; where X'X leaves no doubt, from it.
    """
    n, k = exog.shape
    if n > _FEW_ROWS and k:
        x = exog if exog.dtype == np.float64 else exog.astype(float)
        sums = x.sum(axis=0)
        gram = np.empty((k + 1, k + 1))
        gram[0, 0], gram[0, 1:], gram[1:, 0], gram[1:, 1:] = n, sums, sums, x.T @ x
        if np.isfinite(gram).all() and _clearly_independent(gram[1:, 1:]):
            if _clearly_independent(gram):
                return False
            rest = x @ np.linalg.solve(gram[1:, 1:], sums) - 1.0
            # matrix_rank's tolerance is the norm, sqrt(n) at least, times n times eps
            if np.sqrt(np.mean(rest**2)) < 0.1 * n * np.finfo(float).eps:
                return True
    augmented = np.column_stack((np.ones(n), exog))
    return np.linalg.matrix_rank(exog) == np.linalg.matrix_rank(augmented)


def _clearly_independent(gram):
    values = np.linalg.eigvalsh(gram)
    return values[0] > FULL_RANK * values[-1]
