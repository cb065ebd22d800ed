"""The formula engine on one frame: patsy or formulaic, whichever statsmodels is set to use.

The only user of statsmodels' FormulaManager besides its stand-in and the tests of linear
constraints.
"""

from __future__ import annotations

import builtins
import keyword
import re
import types
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mixedext.compat import FormulaManager
from mixedext.exceptions import FormulaError
from mixedext.specification.data.columns import column_of, index_levels, with_columns
from mixedext.specification.data.extremes import are_finite, column_extremes
from mixedext.specification.data.labels import Levels, factorize, interact, used_levels
from mixedext.specification.formula.bars import names_in, plain_name
from mixedext.specification.formula.diagnosis import cure_of_factor, cure_of_formula
from mixedext.specification.formula.expressions import (
    as_written,
    check_nesting,
    float_name,
    number_use,
    remembering,
)
from mixedext.specification.formula.plain_formula import prototype
from mixedext.specification.formula.transforms import REMEMBERING, RESERVED, TRANSFORMS

__all__ = [
    "FormulaEngine",
    "UsedColumns",
    "fixed_spec",
    "is_of_name",
    "offset_column",
    "reason_of",
    "spec_of_types",
    "used_columns",
]


class UsedColumns(dict):
    """The columns that formulas name: Series by name, NumPy's number types.

    Parameters
    ----------
    frame : DataFrame
        The data.
    names : list
        Names of the columns, or of levels of the index.

    Attributes
    ----------
    emptied : dict
        For each categorical column its categories that no row kept has, if there are.
    """

    def __init__(self, frame: pd.DataFrame, names: list):
        self.emptied: dict[Any, pd.Index] = {}
        super().__init__((name, column_of(frame, name)) for name in names)
        self.source, self.names = frame, names
        self.kept: np.ndarray | None = None
        self._extremes: dict[Any, tuple[np.ndarray, np.ndarray]] = {}

    def settle(self, keep: np.ndarray | None, all_categories: bool = False) -> None:
        """Keep some of the rows (all if None), and make the types plain.

        Categories without rows are left out, as in R's model frames, unless
        ``all_categories`` says that other rows may have them.
        """
        self.kept = keep
        if keep is not None:
            self._extremes.clear()
        for name, column in self.items():
            own = _plain_dtype(column if keep is None else column[keep])
            self[name] = used = own if all_categories else _used_categories(own)
            if used is not own:
                self.emptied[name] = own.cat.categories.difference(
                    used.cat.categories, sort=False
                )

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
        data = _plain_dtypes(data if self.kept is None else data.loc[self.kept])
        return with_columns(data, {n: self[n].array for n in self.emptied})


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
        self.specs: dict[str, Any] = {}  # of columns of random terms, by their formula
        self._floats: dict[str, pd.Series] = {}
        # The data win over names of the caller; kept, these would stand in for columns
        # that new data lack.
        self.namespace = {
            n: v
            for n, v in namespace.items()
            if n not in self.columns or (n in RESERVED and _is_called(v))
        }
        own = TRANSFORMS
        if self.manager.engine != "patsy":  # formulaic remembers by its own
            own = {n: value for n, value in TRANSFORMS.items() if n not in REMEMBERING}
        self.namespace = {**own, **self.namespace}

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
        """The data with aliases beside the names, in place of those of functions."""
        hidden = [c for c in self.aliases if c in RESERVED]
        data = with_columns(self.data, {a: self.data[c] for c, a in self.aliases.items()})
        return data.drop(columns=hidden) if hidden else data

    def _for_numbers(self, text):
        """A text with aliases, whole numbers to be computed with as floats; and its frame.

        The engines compute in the columns' own types, in which whole numbers wrap around.
        """
        data = self.aliased
        kinds = {name: getattr(data[name].dtype, "kind", "O") for name in data.columns}
        use = number_use(text, kinds, self.namespace)
        changed = {}
        for name, kind in kinds.items():
            column = data[name]
            if kind in "iu" and name in use.floats:
                changed[name] = self._float(name)
            elif kind in "iuf" and (wide := _widest(column)) is not column:
                changed[name] = wide
            if name in use.both:  # new data may have any kind of numbers, or text
                changed[float_name(name)] = self._float(name) if kind in "iuf" else column
        both = [name for name in use.both if kinds[name] in "iu"]
        if both:
            text = number_use(text, both, self.namespace).text
        return text, with_columns(data, changed)

    def _float(self, name):
        if name not in self._floats:
            self._floats[name] = self.aliased[name].astype(float)
        return self._floats[name]

    def _remembering(self, text):
        """A text in which the values of whole columns have names of the namespace."""
        columns = [name for name in self.aliased.columns if str(name).isidentifier()]

        def value_of(source: str) -> Any:
            _, data = self._for_numbers(f"I({source})")
            return eval(source, {**self.namespace}, {c: data[c] for c in columns})

        text, values = remembering(text, columns, self.namespace, value_of)
        self.namespace |= values
        return text

    def with_aliases(self, text: str) -> str:
        """A piece of formula in which columns go by their aliases."""

        def replace(match: re.Match[str]) -> str:
            token = match.group(0)
            if token[:2] == "Q(":
                name = token[2:-1].strip()[1:-1]
                return self.aliases.get(name, token) if name in RESERVED else token
            if token in RESERVED and text[match.end() :].lstrip()[:1] == "(":
                return token
            name = token[1:-1] if token[0] == "`" else token
            return self.aliases.get(name, token if token[0] != "`" else name)

        pattern = r"(?<![\w.])Q\(\s*(?:\"[^\"]*\"|'[^']*')\s*\)|"
        pattern += r"`[^`]+`|\"[^\"]*\"|'[^']*'|[^\W\d]\w*(?:\.\w+)*"
        return re.sub(pattern, replace, text)

    def plain_names(self, names: Iterable[Any]) -> list[str]:
        """Column names of the user's from those of the engine."""
        names = [as_written(str(name)) for name in names]
        if not self.aliases and not any("Q(" in name for name in names):
            return names
        originals = {alias: name for name, alias in self.aliases.items()}
        quoted = r"""Q\((["'])([^"']+)\1\)"""
        return [
            re.sub(
                r"[^\W\d]\w*",
                lambda m: originals.get(m.group(0), m.group(0)),
                re.sub(quoted, r"\2", name),
            )
            for name in names
        ]

    def matrices(self, formula: str) -> Any:
        """Data frames of both sides, or of the one side, of a formula."""
        check_nesting(formula)
        text, data = self._for_numbers(self._remembering(self.with_aliases(formula)))
        return self._evaluate(formula, text, data)

    def own_matrix(
        self, text: str, rows: np.ndarray, categories: Iterable[tuple[str, Any]] = ()
    ) -> pd.DataFrame:
        """The columns of a right-hand side on some rows, as if there were no others.

        ``categories`` pairs categorical columns with those of their categories that are to
        be left.
        """
        # statsmodels hands a specification over, which has its own order of columns
        # and values of whole columns are those of the rows
        check_nesting(text)
        text, data = self._for_numbers(self.with_aliases(text.strip()))
        spec, data = self.manager.get_spec(text), data.iloc[rows]
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
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # such as SystemExit: formulas are Python that runs
            unknown, reason = self.unknown_names(formula), reason_of(error)
            if _POINT.search(formula):
                reason = "'.', R's word for all other columns, is not known; name them"
            if unknown and is_of_name(error, unknown):
                reason = (
                    f"{', '.join(unknown)} is neither a column of the data nor a name "
                    f"that is known where the model is made; columns are: "
                    f"{', '.join(self.columns)}"
                )
            raise FormulaError(
                f"formula {formula!r} cannot be evaluated: {reason}"
                f"{cure_of_formula(formula, reason, unknown, self.columns, self.series)}"
            ) from error

    def unknown_names(self, formula: str) -> list[str]:
        """Names in a formula that nobody knows."""
        known = set(self.columns) | set(self.namespace) | set(dir(builtins))
        known |= {"Q", "C", "I", "Treatment", "Sum", "Poly", "T", "bs", "cr", "cc", "te"}
        known |= {"Helmert", "Diff", "center", "scale", "standardize", "contr", "poly"}
        dotted = {n.split(".")[0] for n in self.columns if "." in n and n in formula}
        return sorted(
            n for n in names_in(formula) if "." not in n and n not in known | dotted
        )

    def grouping_factor(self, atom: str) -> tuple[np.ndarray, Levels]:
        """Codes and levels of one atom of a grouping expression."""
        name = plain_name(atom)
        if name not in self.factors:
            try:
                self.factors[name] = self._grouping_factor(name)
            except FormulaError as error:
                cure = cure_of_factor(name, self.columns, self.series)
                raise FormulaError(f"{error}{cure}") from error
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
        number = re.fullmatch(r"Q\(\s*(\d+)\s*\)", name)
        if number is not None and int(number[1]) in self.series:
            return factorize(self.series[int(number[1])])
        if name.isidentifier() and name not in self.namespace:
            raise FormulaError(
                f"the grouping factor {name!r} is not a column of the data; columns are: "
                f"{', '.join(self.columns)}"
            )
        scope = {str(c): _widest(self.data[c]) for c in self.data.columns}
        try:
            text = self._remembering(f"I({name})")[2:-1]
            labels = eval(text, {**self.namespace}, scope)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # such as SystemExit
            raise FormulaError(
                f"the grouping factor {name!r} cannot be evaluated: {reason_of(error)}"
            ) from error
        if np.shape(labels) != (len(self.data),):
            raise FormulaError(
                f"the grouping factor {name!r} has shape {np.shape(labels)}; expected "
                f"one label for each of the {len(self.data)} rows"
            )
        return factorize(labels)


def _is_called(value):
    """Whether a value of a name that formulas call can stand for what they call."""
    return callable(value) or isinstance(value, types.ModuleType)


# A point that is no part of a number or a name.
_POINT = re.compile(r"(?<![\w.)\]])\.(?![\w.])")


def _chain(error):
    """An error, and those that it comes from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_of_name(error: BaseException, names: Collection[Any]) -> bool:
    """Whether an error is that one of the names is not known."""
    missing = [e for e in _chain(error) if isinstance(e, NameError)]
    quoted = "|".join(rf"[`']{re.escape(name)}[`']" for name in names)
    return any(e.name in names or re.search(quoted, str(e)) for e in missing)


def reason_of(error: BaseException) -> str:
    """What an engine's error says, in one line that quotes the place."""
    if not isinstance(error, Exception):
        return f"it would end the program ({type(error).__name__}: {error})"
    text = re.sub(r"\x1b\[[\d;]*m", "", as_written(str(error)))  # formulaic has colours
    reason = text.strip().split("\n")[0].rstrip(".")
    # patsy's functions with a memory are classes
    reason = re.sub(r"\b_?(\w+)\.memorize_chunk\(\)", lambda m: m[1].lower(), reason)
    cause = next((e for e in _chain(error) if isinstance(e, SyntaxError)), None)
    origin = getattr(error, "origin", None)  # of patsy
    marked = re.search("⧛(.*?)⧚", text)  # of formulaic
    if cause is not None:
        reason, place = "invalid syntax", str(cause.text or "").strip()
    elif origin is not None:
        place = as_written(origin.code[origin.start : origin.end].strip())
    else:
        place = marked.group(1).strip() if marked else ""
    return f"{reason}, at {place!r}" if place and repr(place) not in reason else reason


@lru_cache(maxsize=64)
def _aliases(columns):
    """Python names for the columns that have none."""
    taken, aliases = set(columns), {}
    for column in columns:
        normal = unicodedata.normalize("NFKC", column)  # as Python reads names
        python = column.isidentifier() and not keyword.iskeyword(column)
        if python and normal == column and column not in RESERVED:
            continue
        alias = "".join(c if f"a{c}".isidentifier() else "_" for c in normal) + "_"
        alias = alias if alias[0].isalpha() or alias[0] == "_" else f"_{alias}"
        while alias in taken:
            alias += "_"
        taken.add(alias)
        aliases[column] = alias
    return aliases


def _widest(column):
    """A column of small numbers in a type in which they do not overflow, else itself."""
    dtype = column.dtype
    if not isinstance(dtype, np.dtype):
        return column
    if dtype.kind in "iu" and dtype.itemsize < 8:
        return column.astype(np.int64)
    return column.astype(float) if dtype == np.float16 else column


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


def _used_categories(column):
    """A categorical column without categories that no row has; any other as it is."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return column
    codes, categories = column.array.codes, column.array.categories
    stop = 4 * len(categories) + 100  # the first rows tell it nearly always
    for part in (codes[:stop], codes):
        if len(used_levels(part, categories)[1]) == len(categories):
            return column
    return column.cat.remove_unused_categories()


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
    try:
        matrix = np.asarray(engine.matrices(f"~ 0 + I({expression})"), float)
    except FormulaError as error:
        raise FormulaError(f"offset({expression}): {error}") from error
    if matrix.shape[1] != 1:
        raise FormulaError(f"offset({expression}) is not one numeric column")
    return matrix[:, 0]


def used_columns(data: pd.DataFrame, texts: Iterable[str]) -> pd.DataFrame:
    """The columns of a frame that formulas name, with plain dtypes."""
    used = set().union(*(names_in(text) for text in texts))
    numbers = {int(name) for name in used if name.isdecimal()}  # of Q(0)
    columns = [c for c in data.columns if c in (used if isinstance(c, str) else numbers)]
    for name, number in Counter(columns).items():
        if number > 1:
            raise FormulaError(
                f"the data have several columns named {name!r}; keep one of them"
            )
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
    emptied: Mapping[Any, pd.Index],
) -> Any:
    """The formula engine's specification of the fixed part, made again from the data."""
    changed = {
        name: data[name].cat.remove_categories(data[name].cat.categories.intersection(gone))
        for name, gone in emptied.items()
        if name in data.columns
    }
    return _spec(
        fixed_formula, with_columns(data, changed), namespace, aliases, FormulaManager()
    )


def spec_of_types(
    fixed_formula: str, types: Mapping[str, tuple], aliases: Mapping[str, str], engine: str
) -> Any:
    """The specification of a plain formula, from the types and levels of the columns."""
    manager = FormulaManager()
    if engine != manager.engine:  # it has been changed since the model was made
        manager = FormulaManager(engine)
    return _spec(fixed_formula, prototype(types), {}, aliases, manager)


def _spec(fixed_formula, data, namespace, aliases, manager):
    columns = used_columns(data, [fixed_formula])
    engine = FormulaEngine(columns, namespace, aliases=aliases, manager=manager)
    engine.matrices(fixed_formula)
    return engine.manager.spec
