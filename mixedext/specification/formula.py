"""From a formula and a data frame to y, X and random terms.

The only user of statsmodels' FormulaManager: bars and offsets are split off (bars.py),
rows with missing values are settled once for all parts, everything else goes to patsy or
formulaic, whichever statsmodels is set to use.
"""

from __future__ import annotations

import builtins
import keyword
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mixedext.exceptions import FormulaError
from mixedext.specification.bars import Bar, names_in, plain_name, split_formula
from mixedext.specification.missing import check_missing, complete_rows
from mixedext.specification.statsmodels_compat import FormulaManager
from mixedext.specification.terms import RandomTerm, factorize, interact
from mixedext.specification.transforms import TRANSFORMS

__all__ = [
    "ModelFrame",
    "fixed_spec",
    "grouping_levels",
    "model_frame",
    "new_fixed_columns",
]


@dataclass(frozen=True, eq=False)
class ModelFrame:
    """What a formula and a data frame give.

    Attributes
    ----------
    endog : Series
        Response, rows kept.
    exog : DataFrame
        Fixed-effects columns; may have none.
    terms : list of RandomTerm
        Random terms in the order written.
    offset, weights : ndarray or None
        Sum of all offsets; precision weights.
    groups : ndarray or None
        Labels of the ``groups`` argument.
    data : DataFrame
        The rows kept, all columns.
    rows : ndarray
        Which rows of the data were kept, (n,) bool.
    model_spec : object
        The formula engine's specification of the fixed part.
    fixed_formula : str
        Response and fixed effects.
    offset_formulas : tuple of str
        Expressions of the offset terms.
    namespace : dict
        What the formula uses besides the data.
    aliases : dict
        Names that the formula engine knows columns by whose own are not Python's.
    components : tuple of int
        Terms that come from ``vc_formula``.
    """

    endog: pd.Series
    exog: pd.DataFrame
    terms: list[RandomTerm]
    offset: np.ndarray | None
    weights: np.ndarray | None
    groups: np.ndarray | None
    data: pd.DataFrame
    rows: np.ndarray
    model_spec: object
    fixed_formula: str
    offset_formulas: tuple[str, ...]
    namespace: dict = field(repr=False)
    aliases: dict[str, str] = field(repr=False)
    components: tuple[int, ...]


class _Engine:
    """The formula engine on one frame.

    Columns whose names are not Python's (``yield``, ``a.b``, ``my col`` in backticks)
    get an alias that is, in the formulas and in the frame that the engine sees.
    """

    def __init__(self, data: pd.DataFrame, namespace: dict, columns=None, aliases=None):
        self.manager = FormulaManager()
        self.columns = [str(c) for c in (data.columns if columns is None else columns)]
        known = _aliases(self.columns) if aliases is None else aliases
        self.aliases = {c: a for c, a in known.items() if c in data.columns}
        self.data = data
        self.aliased = data.assign(**{a: data[c] for c, a in self.aliases.items()})
        # The data win over names of the caller; kept, these would stand in for columns
        # that new data lack.
        self.namespace = {n: v for n, v in namespace.items() if n not in self.columns}
        if self.manager.engine == "patsy":
            self.namespace = {**TRANSFORMS, **self.namespace}
            # keeps missing values in place: rows are settled by model_frame
            self.na_action = self.manager.get_na_action("drop", types=[])
        else:
            self.namespace.setdefault("np", np)
            self.na_action = "ignore"

    def with_aliases(self, text):
        """A piece of formula in which columns go by their aliases."""

        def replace(match):
            token = match.group(0)
            name = token[1:-1] if token[0] == "`" else token
            return self.aliases.get(name, token if token[0] != "`" else name)

        pattern = r"`[^`]+`|\"[^\"]*\"|'[^']*'|[^\W\d]\w*(?:\.\w+)*"
        return re.sub(pattern, replace, text)

    def plain_names(self, names):
        """Column names of the user's from those of the engine."""
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

    def matrices(self, formula):
        """Data frames of both sides, or of the one side, of a formula."""
        try:
            return self.manager.get_matrices(
                self.with_aliases(formula),
                self.aliased,
                eval_env=self.namespace,
                pandas=True,
                na_action=self.na_action,
            )
        except Exception as error:
            unknown = self._unknown_names(formula)
            reason = str(error).strip().split("\n")[0]
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
        known |= {"center", "scale", "standardize", "contr"}
        dotted = {n.split(".")[0] for n in self.columns if "." in n}
        return sorted(
            n for n in names_in(formula) if "." not in n and n not in known | dotted
        )

    def grouping_factor(self, atom):
        """Codes and levels of one atom of a grouping expression."""
        name = plain_name(atom)
        if name in self.data.columns:
            return factorize(self.data[name])
        if name in self.data.index.names:
            return factorize(self.data.index.get_level_values(name))
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


def _plain_dtypes(data):
    """Nullable numeric and boolean columns as NumPy's, which formula engines expect."""
    changed = {}
    for name in data.columns:
        dtype = data[name].dtype
        if not isinstance(dtype, np.dtype) and getattr(dtype, "kind", "O") in "iufb":
            kind = bool if dtype.kind == "b" else (int if dtype.kind in "iu" else float)
            column = data[name]
            changed[name] = column.astype(float if column.isna().any() else kind)
    return data.assign(**changed) if changed else data


def _column_or_array(value, data, what):
    """An argument that is a column's name, a one-element list of it, or an array."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, str):
        if value in data.columns:
            return data[value]
        if value in data.index.names:
            return data.index.get_level_values(value)
        raise FormulaError(
            f"{what}={value!r} is not a column of the data; there are: "
            f"{', '.join(map(str, data.columns))}"
        )
    if isinstance(value, pd.Series | pd.Index | pd.Categorical):
        array = value
    else:
        array = np.asarray(value)
    if np.shape(array) != (len(data),):
        raise ValueError(
            f"{what} has shape {np.shape(array)}; expected one value for each of the "
            f"{len(data)} rows of the data"
        )
    return array


def model_frame(
    formula: str,
    data,
    namespace: dict,
    *,
    groups=None,
    re_formula: str | None = None,
    vc_formula: Mapping | None = None,
    weights=None,
    offset=None,
    subset=None,
    missing: str = "none",
) -> ModelFrame:
    """Evaluate a formula on a data frame.

    Parameters
    ----------
    formula : str
        Fixed effects, random terms in bars, offset(...).
    data : DataFrame
        Or what a DataFrame can be made of.
    namespace : dict
        Names that the formula may use besides the columns.
    groups, re_formula, vc_formula
        statsmodels' way to say the random terms; may be combined with bars.
    weights, offset : str or array_like, optional
        Column name, or one value a row.
    subset : array_like, optional
        Rows of ``data`` to use, for ``data.loc``.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error, or are dropped.

    Raises
    ------
    FormulaError
        If the formula cannot be read or evaluated.
    MissingDataError
        If values are missing and ``missing`` is not "drop"; names the columns.
    """
    check_missing(missing)
    split = split_formula(formula)
    frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
    if subset is not None:
        frame = frame.loc[subset]
    if len(frame) == 0:
        raise ValueError("data has no rows")
    arrays = {}
    for what, value in (("groups", groups), ("weights", weights), ("offset", offset)):
        if value is not None:
            arrays[what] = _column_or_array(value, frame, what)
    group_name = _group_name(groups)
    vc_formula = {} if vc_formula is None else vc_formula
    texts = [split.response, split.fixed, *split.offsets, re_formula or ""]
    texts += [b.columns for b in split.bars] + [f for b in split.bars for f in b.factors]
    texts += list(vc_formula.values())
    used = set().union(*(names_in(text) for text in texts))
    columns = [c for c in frame.columns if str(c) in used]
    repeated = sorted({str(c) for c in columns if columns.count(c) > 1})
    if repeated:
        raise FormulaError(
            f"data has several columns named {', '.join(repeated)}, which the formula uses"
        )
    keep = _present_rows(frame, columns, arrays, missing)
    narrow = _plain_dtypes(frame.loc[keep, columns] if not keep.all() else frame[columns])
    arrays = {name: a[keep] if not keep.all() else a for name, a in arrays.items()}
    engine = _Engine(narrow, namespace, frame.columns)

    fixed_formula = f"{split.response} ~ {split.fixed}"
    endog, exog = engine.matrices(fixed_formula)
    model_spec = engine.manager.spec
    boolean = split.response in narrow and narrow[split.response].dtype == bool
    if endog.shape[1] != 1 or boolean:
        raise ValueError(
            f"the response {split.response!r} has evaluated to {endog.shape[1]} columns; "
            "it must be one numeric column (a boolean or text response is not)"
        )
    terms, components = [_bar_term(engine, bar) for bar in split.bars], ()
    if "groups" in arrays:
        factor = factorize(arrays["groups"])
        own = _groups_terms(engine, factor, group_name, re_formula, vc_formula)
        components = tuple(range(len(own) - len(vc_formula), len(own)))
        terms = own + terms
    elif re_formula is not None or vc_formula:
        raise AttributeError("groups= is required where re_formula or vc_formula is given")
    shift = _offset(engine, split.offsets, arrays)
    weight = None if "weights" not in arrays else _numbers(arrays["weights"], "weights")
    finite = _finite_rows(endog, exog, terms, shift, weight, missing)
    if not finite.all():
        endog, exog, narrow = endog[finite], exog[finite], narrow[finite]
        terms = [t.take(finite) for t in terms]
        shift = None if shift is None else shift[finite]
        weight = None if weight is None else weight[finite]
        arrays = {name: a[finite] for name, a in arrays.items()}
        keep = keep.copy()
        keep[np.flatnonzero(keep)[~finite]] = False
    exog = pd.DataFrame(exog)
    exog.columns = engine.plain_names(exog.columns)
    response = pd.DataFrame(endog).iloc[:, 0]
    response.name = engine.plain_names([response.name])[0]
    return ModelFrame(
        endog=response,
        exog=exog,
        terms=terms,
        offset=shift,
        weights=weight,
        groups=None if "groups" not in arrays else np.asarray(arrays["groups"]),
        data=frame if keep.all() else frame.loc[keep],
        rows=keep,
        model_spec=model_spec,
        fixed_formula=fixed_formula,
        offset_formulas=split.offsets,
        namespace=engine.namespace,
        aliases=engine.aliases,
        components=components,
    )


def _numbers(values, what):
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not numeric: {error}") from None


def _group_name(groups):
    if isinstance(groups, list) and len(groups) == 1:
        groups = groups[0]
    if isinstance(groups, str):
        return groups
    return "Group"


def _present_rows(frame, columns, arrays, missing):
    absent = {str(c): frame[c].isna().to_numpy() for c in columns}
    for name, values in arrays.items():
        mask = np.asarray(pd.isna(values))
        absent[name] = absent[name] | mask if name in absent else mask
    if not absent:  # no column is used at all
        return np.ones(len(frame), bool)
    return complete_rows(absent, missing)


def _finite_rows(endog, exog, terms, offset, weights, missing):
    """Rows in which the evaluated formula is not missing; infinite values are refused."""
    parts = {"the response": endog, "the fixed effects": exog}
    parts |= {"offset": offset, "weights": weights}
    absent = {t.label: t.missing() for t in terms}
    for name, values in parts.items():
        if values is None:
            continue
        array = np.asarray(values, float).reshape(len(endog), -1)
        if np.isinf(array).any():
            column = ""
            if name == "the fixed effects":
                column = f" (column {exog.columns[np.isinf(array).any(axis=0)][0]})"
            raise ValueError(f"infinite values in {name}{column}")
        absent[name] = np.isnan(array).any(axis=1)
    return complete_rows(absent, missing, ", though the data have none there")


def _offset(engine, expressions, arrays):
    total = None
    if "offset" in arrays:
        total = _numbers(arrays["offset"], "offset")
    for expression in expressions:
        value = _offset_column(engine, expression)
        total = value if total is None else total + value
    return total


def _offset_column(engine, expression):
    matrix = np.asarray(engine.matrices(f"~ 0 + I({expression})"), float)
    if matrix.shape[1] != 1:
        raise FormulaError(f"offset({expression}) is not one numeric column")
    return matrix[:, 0]


def _columns(engine, text):
    """Columns of a random term's left-hand side: (z, names); z None for an intercept."""
    if text.strip() == "1":
        return None, ["Intercept"]
    matrix = engine.matrices(f"~ {text}")
    if matrix.shape[1] == 0:
        raise FormulaError(f"the random term ({text} | ...) has no columns")
    return np.asarray(matrix, float), engine.plain_names(matrix.columns)


def _bar_term(engine, bar: Bar) -> RandomTerm:
    codes, levels = _grouping(engine, bar.factors)
    z, names = _columns(engine, bar.columns)
    return RandomTerm(
        codes,
        z,
        group=bar.group,
        names=names,
        structure="unstructured" if bar.correlated else "diagonal",
        levels=levels,
    )


def grouping_levels(data: pd.DataFrame, factors, namespace: dict) -> pd.Index:
    """Levels of a grouping factor, in order, from a frame in which all of them occur."""
    engine = _Engine(data, namespace)
    return _grouping(engine, factors)[1]


def _grouping(engine, factors):
    codes, levels = engine.grouping_factor(factors[0])
    for atom in factors[1:]:
        codes, levels = interact((codes, levels), engine.grouping_factor(atom))
    return codes, levels


def _groups_terms(engine, factor, group_name, re_formula, vc_formula):
    """Terms of statsmodels' ``groups``, ``re_formula`` and ``vc_formula``."""
    codes, levels = factor
    terms = []
    if re_formula is not None or not vc_formula:
        text = "1" if re_formula is None else re_formula.strip().removeprefix("~")
        z, names = _columns(engine, text)
        terms.append(RandomTerm(codes, z, group=group_name, names=names, levels=levels))
    for name in sorted(vc_formula):
        text = vc_formula[name].strip().removeprefix("~")
        category = re.fullmatch(r"0\s*\+\s*C\(\s*([^\W\d]\w*)\s*\)", text)
        if category is not None and category.group(1) in engine.data.columns:
            inner = factorize(engine.data[category.group(1)])
            own_codes, own_levels = interact(factor, inner)
            term = RandomTerm(own_codes, None, group=name, levels=own_levels)
        else:
            z, names = _columns(engine, text)
            z = np.ones((len(codes), 1)) if z is None else z
            term = RandomTerm(
                codes, z, group=name, names=names, structure="identity", levels=levels
            )
        terms.append(term)
    return terms


def _used_columns(data, texts):
    """The columns of a frame that formulas name, with plain dtypes."""
    used = set().union(*(names_in(text) for text in texts))
    columns = [c for c in data.columns if isinstance(c, str) and c in used]
    return _plain_dtypes(data[list(dict.fromkeys(columns))])


def fixed_spec(fixed_formula: str, data: pd.DataFrame, namespace: dict, aliases: dict):
    """The formula engine's specification of the fixed part, made again from the data."""
    engine = _Engine(_used_columns(data, [fixed_formula]), namespace, aliases=aliases)
    engine.matrices(fixed_formula)
    return engine.manager.spec


def _new_matrix(engine, model_spec):
    """Columns of the fixed part for new data; levels that the fit had not are refused."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exog = engine.manager.get_matrices(
                model_spec,
                engine.aliased,
                eval_env=engine.namespace,
                na_action=engine.na_action,
                prediction=True,
            )
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise FormulaError(f"the new data do not fit the formula: {reason}") from error
    for message in caught:
        if message.category.__name__ == "DataMismatchWarning":  # formulaic's
            raise FormulaError(f"the new data do not fit the formula: {message.message}")
        warnings.warn(message.message, stacklevel=4)
    return exog


def new_fixed_columns(
    model_spec, data, fixed_formula: str, namespace: dict, aliases: dict, offset_formulas=()
) -> tuple[np.ndarray, np.ndarray | None]:
    """Fixed-effects columns and formula offset for new data, bases as in the fit."""
    frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
    texts = [fixed_formula.split("~", 1)[1], *offset_formulas]
    engine = _Engine(_used_columns(frame, texts), namespace, frame.columns, aliases)
    exog = _new_matrix(engine, model_spec)
    offset = None
    for expression in offset_formulas:
        value = _offset_column(engine, expression)
        offset = value if offset is None else offset + value
    return np.asarray(exog, float), offset
