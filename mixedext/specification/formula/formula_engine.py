"""The formula engine on one frame: patsy or formulaic, whichever statsmodels is set to use.

The only user of statsmodels' FormulaManager besides its stand-in and the tests of linear
constraints.
"""

from __future__ import annotations

import builtins
import keyword
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mixedext.compat import FormulaManager
from mixedext.exceptions import FormulaError
from mixedext.specification.data.columns import column_of, index_levels, with_columns
from mixedext.specification.data.extremes import are_finite, column_extremes
from mixedext.specification.data.labels import Levels, factorize, interact
from mixedext.specification.formula.bars import names_in, plain_name
from mixedext.specification.formula.plain_formula import prototype
from mixedext.specification.formula.transforms import TRANSFORMS

__all__ = [
    "FormulaEngine",
    "UsedColumns",
    "data_frame",
    "fixed_spec",
    "new_fixed_columns",
    "offset_column",
    "series_as_frame",
    "spec_of_types",
]


class UsedColumns(dict):
    """The columns that formulas name: Series by name, NumPy's number types.

    Parameters
    ----------
    frame : DataFrame
        The data.
    names : list
        Names of the columns, or of levels of the index.
    """

    def __init__(self, frame: pd.DataFrame, names: list):
        super().__init__((name, column_of(frame, name)) for name in names)
        self.source, self.names = frame, names
        self.kept: np.ndarray | None = None
        self._extremes: dict[Any, tuple[np.ndarray, np.ndarray]] = {}

    def settle(self, keep: np.ndarray | None) -> None:
        """Keep some of the rows (all if None), and make the types plain."""
        self.kept = keep
        if keep is not None:
            self._extremes.clear()
        for name, column in self.items():
            self[name] = _plain_dtype(column if keep is None else column[keep])

    def extremes(self, name: Any) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest value of a column of NumPy's real numbers."""
        if name not in self._extremes:
            self._extremes[name] = column_extremes(self[name].values)
        return self._extremes[name]

    def is_finite(self, name: Any) -> bool:
        """Whether a column has NumPy's real numbers, none missing or infinite."""
        dtype = self[name].dtype
        if not isinstance(dtype, np.dtype):
            return False
        return dtype.kind in "iub" or (
            dtype.kind == "f" and are_finite(self.extremes(name))
        )

    def frame(self) -> pd.DataFrame:
        """The columns as a frame."""
        names, frame = self.names, self.source
        data = _columns_or_levels(frame, names)
        return _plain_dtypes(data if self.kept is None else data.loc[self.kept])


class FormulaEngine:
    """The formula engine on one frame.

    Columns whose names are not Python's (``yield``, ``a.b``, ``my col`` in backticks)
    get an alias that is, in the formulas and in the frame that the engine sees.
    """

    def __init__(
        self,
        data: UsedColumns | pd.DataFrame,
        namespace: Mapping[str, Any],
        columns: Iterable[Any] | None = None,
        aliases: Mapping[str, str] | None = None,
        manager: Any = None,
    ):
        self.manager = FormulaManager() if manager is None else manager
        self.series = data
        self.columns = [str(c) for c in (data if columns is None else columns)]
        known = _aliases(tuple(self.columns)) if aliases is None else aliases
        self.aliases = {c: a for c, a in known.items() if c in data}
        self.factors: dict[str | tuple[str, ...], tuple[np.ndarray, Levels]] = {}
        self.made: dict[tuple, np.ndarray] = {}  # by the key of a PlainColumn
        # The data win over names of the caller; kept, these would stand in for columns
        # that new data lack.
        self.namespace = {n: v for n, v in namespace.items() if n not in self.columns}
        if self.manager.engine == "patsy":
            self.namespace = {**TRANSFORMS, **self.namespace}
        else:
            self.namespace.setdefault("np", np)

    @cached_property
    def na_action(self) -> Any:
        """What keeps missing values in place: rows are settled by model_frame."""
        if self.manager.engine == "patsy":
            return self.manager.get_na_action("drop", types=[])
        return "ignore"

    @cached_property
    def data(self) -> pd.DataFrame:
        """The columns that the formulas name, rows kept."""
        if isinstance(self.series, pd.DataFrame):
            return self.series
        return self.series.frame()

    @cached_property
    def aliased(self) -> pd.DataFrame:
        """The data with aliases beside the names."""
        return with_columns(self.data, {a: self.data[c] for c, a in self.aliases.items()})

    def with_aliases(self, text: str) -> str:
        """A piece of formula in which columns go by their aliases."""

        def replace(match: re.Match[str]) -> str:
            token = match.group(0)
            name = token[1:-1] if token[0] == "`" else token
            return self.aliases.get(name, token if token[0] != "`" else name)

        pattern = r"`[^`]+`|\"[^\"]*\"|'[^']*'|[^\W\d]\w*(?:\.\w+)*"
        return re.sub(pattern, replace, text)

    def plain_names(self, names: Iterable[Any]) -> list[str]:
        """Column names of the user's from those of the engine."""
        if not self.aliases and not any("Q(" in str(name) for name in names):
            return [str(name) for name in names]
        originals = {alias: name for name, alias in self.aliases.items()}
        quoted = r"""Q\((["'])([^"']+)\1\)"""
        return [
            re.sub(
                r"[^\W\d]\w*",
                lambda m: originals.get(m.group(0), m.group(0)),
                re.sub(quoted, r"\2", str(name)),
            )
            for name in names
        ]

    def matrices(self, formula: str) -> Any:
        """Data frames of both sides, or of the one side, of a formula."""
        return self._evaluate(formula, self.with_aliases(formula), self.aliased)

    def own_matrix(
        self, text: str, rows: np.ndarray, categories: Iterable[tuple[str, Any]] = ()
    ) -> pd.DataFrame:
        """The columns of a right-hand side on some rows, as if there were no others.

        ``categories`` pairs categorical columns with those of their categories that are to
        be left.
        """
        # statsmodels hands a specification over, which has its own order of columns
        spec = self.manager.get_spec(self.with_aliases(text.strip()))
        data = self.aliased.iloc[rows]
        for name, kept in categories:
            both = [c for c in (name, self.aliases.get(name)) if c is not None]
            data = with_columns(data, {c: data[c].cat.set_categories(kept) for c in both})
        return self._evaluate(f"~ {text}", spec, data)

    def _evaluate(self, formula, spec, data):
        try:
            return self.manager.get_matrices(
                spec,
                data,
                eval_env=self.namespace,
                pandas=True,
                na_action=self.na_action,
            )
        except Exception as error:
            unknown, reason = self._unknown_names(formula), _reason(error)
            if _POINT.search(formula):
                reason = "'.', R's word for all other columns, is not known; name them"
            if unknown:
                reason = (
                    f"{', '.join(unknown)} is neither a column of the data nor a name "
                    f"that is known where the model is made; columns are: "
                    f"{', '.join(self.columns)}"
                )
            raise FormulaError(
                f"formula {formula!r} cannot be evaluated: {reason}"
            ) from error

    def _unknown_names(self, formula):
        known = set(self.columns) | set(self.namespace) | set(dir(builtins))
        known |= {"Q", "C", "I", "Treatment", "Sum", "Poly", "T", "bs", "cr", "cc", "te"}
        known |= {"Helmert", "Diff", "center", "scale", "standardize", "contr"}
        dotted = {n.split(".")[0] for n in self.columns if "." in n}
        return sorted(
            n for n in names_in(formula) if "." not in n and n not in known | dotted
        )

    def grouping_factor(self, atom: str) -> tuple[np.ndarray, Levels]:
        """Codes and levels of one atom of a grouping expression."""
        name = plain_name(atom)
        if name not in self.factors:
            self.factors[name] = self._grouping_factor(name)
        return self.factors[name]

    def grouping_factors(self, atoms: tuple[str, ...]) -> tuple[np.ndarray, Levels]:
        """Codes and levels of the interaction of atoms, the same object for the same."""
        if len(atoms) == 1:
            return self.grouping_factor(atoms[0])
        if atoms not in self.factors:
            rest = self.grouping_factors(atoms[:-1])
            self.factors[atoms] = interact(rest, self.grouping_factor(atoms[-1]))
        return self.factors[atoms]

    def _grouping_factor(self, name):
        if name in self.series:
            return factorize(self.series[name])
        if name.isidentifier() and name not in self.namespace:
            raise FormulaError(
                f"the grouping factor {name!r} is not a column of the data; columns are: "
                f"{', '.join(self.columns)}"
            )
        scope = {str(c): self.data[c] for c in self.data.columns}
        try:
            labels = eval(name, {**self.namespace}, scope)
        except Exception as error:
            raise FormulaError(
                f"the grouping factor {name!r} cannot be evaluated: {error}"
            ) from error
        if np.shape(labels) != (len(self.data),):
            raise FormulaError(
                f"the grouping factor {name!r} has shape {np.shape(labels)}; expected "
                f"one label for each of the {len(self.data)} rows"
            )
        return factorize(labels)


# A point that is no part of a number or a name.
_POINT = re.compile(r"(?<![\w.)\]])\.(?![\w.])")


def _reason(error):
    """What an engine's error says, in one line that quotes the place."""
    text = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # formulaic colours the place
    reason = text.strip().split("\n")[0].rstrip(".")
    cause = error
    while cause is not None and not isinstance(cause, SyntaxError):
        cause = cause.__cause__ or cause.__context__
    origin = getattr(error, "origin", None)  # of patsy
    marked = re.search("⧛(.*?)⧚", text)  # of formulaic
    if cause is not None:
        reason, place = "invalid syntax", str(cause.text or "").strip()
    elif origin is not None:
        place = origin.code[origin.start : origin.end].strip()
    else:
        place = marked.group(1).strip() if marked else ""
    return f"{reason}, at {place!r}" if place and repr(place) not in reason else reason


@lru_cache(maxsize=64)
def _aliases(columns):
    """Python names for the columns that have none."""
    taken, aliases = set(columns), {}
    for column in columns:
        if column.isidentifier() and not keyword.iskeyword(column):
            continue
        alias = re.sub(r"\W", "_", column) + "_"
        alias = alias if alias[0].isalpha() or alias[0] == "_" else f"_{alias}"
        while alias in taken:
            alias += "_"
        taken.add(alias)
        aliases[column] = alias
    return aliases


def _plain_dtype(column):
    """A nullable or Arrow column as one of NumPy's or a categorical, as engines expect."""
    dtype = column.dtype
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind not in "iufb":
        if str(dtype).startswith("decimal"):
            return column.astype(float)
        plain = column.array.__arrow_array__().to_pandas()
        return pd.Series(plain.array, column.index, name=column.name)
    if isinstance(dtype, np.dtype) or getattr(dtype, "kind", "O") not in "iufb":
        return column
    kind = bool if dtype.kind == "b" else (int if dtype.kind in "iu" else float)
    return column.astype(float if column.isna().any() else kind)


def _plain_dtypes(data):
    """A frame with ``_plain_dtype`` of all its columns."""
    changed = {}
    for name in data.columns:
        column = _plain_dtype(data[name])
        if column.dtype != data[name].dtype:
            changed[name] = column
    return with_columns(data, changed)


def offset_column(engine: FormulaEngine, expression: str) -> np.ndarray:
    """Values of an offset, (n,)."""
    matrix = np.asarray(engine.matrices(f"~ 0 + I({expression})"), float)
    if matrix.shape[1] != 1:
        raise FormulaError(f"offset({expression}) is not one numeric column")
    return matrix[:, 0]


def _used_columns(data, texts):
    """The columns of a frame that formulas name, with plain dtypes."""
    used = set().union(*(names_in(text) for text in texts))
    columns = [c for c in data.columns if isinstance(c, str) and c in used]
    names = [*dict.fromkeys(columns), *index_levels(data, used)]
    return _plain_dtypes(_columns_or_levels(data, names))


def _columns_or_levels(data, names):
    """Columns of a frame, and levels of its index as columns."""
    columns = [name for name in names if name in data.columns]
    levels = {name: column_of(data, name) for name in names if name not in data.columns}
    return with_columns(data[columns], levels)


def fixed_spec(
    fixed_formula: str,
    data: pd.DataFrame,
    namespace: Mapping[str, Any],
    aliases: Mapping[str, str],
) -> Any:
    """The formula engine's specification of the fixed part, made again from the data."""
    return _spec(fixed_formula, data, namespace, aliases, FormulaManager())


def spec_of_types(
    fixed_formula: str, types: Mapping[str, tuple], aliases: Mapping[str, str], engine: str
) -> Any:
    """The specification of a plain formula, from the types and levels of the columns."""
    manager = FormulaManager()
    if engine != manager.engine:  # it has been changed since the model was made
        manager = FormulaManager(engine)
    return _spec(fixed_formula, prototype(types), {}, aliases, manager)


def _spec(fixed_formula, data, namespace, aliases, manager):
    columns = _used_columns(data, [fixed_formula])
    engine = FormulaEngine(columns, namespace, aliases=aliases, manager=manager)
    engine.matrices(fixed_formula)
    return engine.manager.spec


def _new_matrix(engine, model_spec, text):
    """Columns of the fixed part for new data; levels that the fit had not are refused."""
    try:
        return _columns_of_values(engine, model_spec)
    except FormulaError as error:
        lacking = engine._unknown_names(text)
        if not lacking:
            raise
        raise FormulaError(
            "the new data do not fit the formula: they have no column "
            f"{', '.join(lacking)}; their columns are: {', '.join(engine.columns)}. "
            "(transform=False takes the columns of the model itself.)"
        ) from error


def _columns_of_values(engine, model_spec):
    data = engine.aliased
    # Engines want the categories of the fit in its order, which are nothing to values; and
    # formulaic takes rows of other categories for rows of the first.
    changed = {
        name: data[name].astype(object)
        for name in data.columns
        if isinstance(data[name].dtype, pd.CategoricalDtype)
    }
    plain = with_columns(data, changed)
    if engine.manager.engine != "patsy":
        return _engine_columns(engine, model_spec, plain)
    try:
        return _engine_columns(engine, model_spec, data)
    except FormulaError:
        if not changed:
            raise
        return _engine_columns(engine, model_spec, plain)


def _engine_columns(engine, model_spec, data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exog = engine.manager.get_matrices(
                model_spec,
                data,
                eval_env=engine.namespace,
                na_action=engine.na_action,
                prediction=True,
            )
        except Exception as error:
            reason = _reason(error)
            raise FormulaError(f"the new data do not fit the formula: {reason}") from error
    for message in caught:
        if message.category.__name__ == "DataMismatchWarning":  # formulaic's
            raise FormulaError(f"the new data do not fit the formula: {message.message}")
    for message in caught:
        warnings.warn(message.message, stacklevel=5)
    return exog


def data_frame(data: Any) -> pd.DataFrame:
    """Data as a frame: it, or made of a mapping, records or rows.

    A mapping to single values is one row.

    Raises
    ------
    TypeError
        If pandas makes no frame of them.
    """
    if isinstance(data, pd.DataFrame):
        return data
    kind = f"{type(data).__module__.split('.')[0]}.{type(data).__name__}"
    if hasattr(data, "to_delayed"):
        raise TypeError(
            f"data is a {kind}; use MixedLM.from_chunks, or pass data.compute()"
        )
    if hasattr(data, "to_pandas"):  # polars, pyarrow
        raise TypeError(f"data is a {kind}; pass data.to_pandas(), a pandas DataFrame")
    if data is None or isinstance(data, str | bytes):
        raise TypeError(f"data={data!r} is no data; pass a pandas DataFrame")
    if isinstance(data, Mapping) and data and not any(map(np.ndim, data.values())):
        data = [data]
    try:
        return pd.DataFrame(data)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"data is a {kind}, of which pandas makes no DataFrame: {error}"
        ) from error


def series_as_frame(data: pd.Series, fixed_formula: str) -> pd.DataFrame:
    """A Series as new data: a column if the formula knows its name, else one row."""
    name = data.name
    if isinstance(name, str) and name in names_in(fixed_formula.split("~", 1)[1]):
        return data.to_frame()
    return data.to_frame().T.infer_objects()


def new_fixed_columns(
    model_spec: Any,
    data: Any,
    fixed_formula: str,
    namespace: Mapping[str, Any],
    aliases: Mapping[str, str],
    offset_formulas: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray | None]:
    """Fixed-effects columns and formula offset for new data, bases as in the fit.

    NaN for rows that lack a value.
    """
    frame = data_frame(data)
    texts = [fixed_formula.split("~", 1)[1], *offset_formulas]
    used = _used_columns(frame, texts)
    absent = _lacks_category(used)
    used = used[~absent] if absent.any() else used
    known = [*frame.columns, *index_levels(frame, used.columns)]
    engine = FormulaEngine(used, namespace, known, aliases)
    exog = _new_matrix(engine, model_spec, texts[0])
    offset = None
    for expression in offset_formulas:
        value = offset_column(engine, expression)
        offset = value if offset is None else offset + value
    exog = np.asarray(exog, float)
    if not absent.any():
        return exog, offset
    whole = np.full((len(absent), exog.shape[1]), np.nan)
    whole[~absent] = exog
    if offset is not None:
        offset = _spread(offset, ~absent)
    return whole, offset


def _spread(values, places):
    out = np.full(len(places), np.nan)
    out[places] = values
    return out


def _lacks_category(data):
    """Rows in which a column that is not numeric has no value, (n,) bool."""
    absent = np.zeros(len(data), bool)
    for name in data.columns:
        if getattr(data[name].dtype, "kind", "O") not in "iufbc":
            absent |= data[name].isna().to_numpy()
    return absent
