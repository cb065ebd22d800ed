"""The residual covariance of a fit: its parameters and its matrices.

    R_i = sigma^2 W_i^-1/2 Lambda_i W_i^-1/2,    V_i = Z_i D Z_i' + R_i,

i a residual group, W precision weights; rows of a group in order of visit or time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.arguments import confidence, did_you_mean
from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.fitted import Fitted, HasFitted, once_a_fit
from mixedext.inference.variances.residual_parameters import (
    natural_estimates,
    natural_limits,
    residual_of,
)
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_curve import ResidualCurve
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm
from mixedext.tables.noted_table import NotedTable
from mixedext.tables.number_text import enough_decimals, number_format, number_texts

__all__ = [
    "ResidualCovariance",
    "error_covariance",
    "forget_residual_rows",
    "marginal_cov",
    "printed_parameters",
    "random_part",
    "residual",
    "residual_sizes",
    "row_places",
    "visit_labels",
]

# Labels that an error lists.
MOST_LABELS = 6


@dataclass(frozen=True, eq=False)
class ResidualCovariance:
    """What a fit says of its residual covariance; prints as a table of its parameters.

    Attributes
    ----------
    structure : str
        The structure as a user would type it.
    """

    structure: str
    _fitted: Fitted = field(repr=False)

    @property
    def _estimate(self) -> ResidualEstimate:
        return residual_of(self._fitted)

    @property
    def _bound(self) -> BoundResidual:
        return self._estimate.bound

    # ---- parameters ----

    @cached_property
    def params(self) -> pd.Series:
        """Natural parameters in the units of the data, those that SAS prints.

        Variances by stratum (``sigma^2`` without strata), parameters of other variance
        functions, correlations; of an unstructured covariance its elements.
        """
        found = natural_estimates(self._fitted)
        names = [p.name for p in found.parameters]
        return pd.Series(found.estimate, index=names, name="estimate")

    @cached_property
    def sas_names(self) -> pd.Series:
        """SAS PROC MIXED's names of ``params``, or what it makes them of; else empty."""
        parameters = natural_estimates(self._fitted).parameters
        names = [p.name for p in parameters]
        return pd.Series([p.sas for p in parameters], index=names, name="SAS")

    @cached_property
    def cov_params(self) -> pd.DataFrame:
        """Covariance of ``params`` by the observed information; NaN for what has none."""
        found, names = natural_estimates(self._fitted), self.params.index
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            values = found.covariance * found.size * found.size[:, None]
        return pd.DataFrame(values, index=names, columns=names)

    @property
    def bse(self) -> pd.Series:
        """Standard errors of ``params``; NaN at a limit, or of what was held."""
        values = natural_estimates(self._fitted).errors
        return pd.Series(values, index=self.params.index, name="std_err")

    def conf_int(self, alpha: float = 0.05, *, level: float | None = None) -> NotedTable:
        """Parameters with standard errors and limits.

        Parameters
        ----------
        alpha : float, optional
            One minus the confidence level.
        level : float, optional
            The level itself, in place of ``alpha``.

        Returns
        -------
        NotedTable
            sas, estimate, std_err, lower, upper.  Limits are Wald's on the scale of the
            search, on which a parameter is free, mapped back: of variances their
            logarithm, of correlations Fisher's z; of covariances their own.  NaN for what
            has run to a limit or was held, which the ``notes`` name.
        """
        level = confidence(alpha, level)
        limits = natural_limits(self._fitted, level)
        frame = pd.DataFrame(
            {"sas": self.sas_names, "estimate": self.params, "std_err": self.bse}
        )
        frame["lower"], frame["upper"] = limits.T
        return NotedTable.of(frame, "", natural_estimates(self._fitted).notes)

    def __repr__(self) -> str:
        table = printed_parameters(self.conf_int())
        notes = [*natural_estimates(self._fitted).notes, *self._left_out]
        lines = [f"Residual covariance: {self.structure}", self._groups]
        return "\n".join([*lines, table.to_string(), *notes])

    __str__ = __repr__

    @property
    def _groups(self) -> str:
        sizes = [b.size for b in self._bound.batches]
        rows = (
            f"{min(sizes)} to {max(sizes)} rows" if len(sizes) > 1 else f"{sizes[0]} rows"
        )
        if not self._bound.spec.factors and self._bound.correlation is not None:
            return f"all {self._bound.n_obs} rows together"
        if sizes == [1]:
            return f"{self._bound.n_obs} independent rows"
        return f"{self._bound.n_groups} groups by {self._bound.group_name}, {rows} each"

    # ---- matrices ----

    @cached_property
    def cov(self) -> pd.DataFrame | dict[Any, pd.DataFrame]:
        """Covariance matrix of the visits in the units of the data; by level of ``by``.

        Of rows of weight one; factors of the standard deviation that are not the same for
        all rows of a visit count as one.

        Raises
        ------
        ValueError
            If the correlation goes by times or places, of which there is no one list, or
            there is none.
        """
        return self._by_level(lambda own: own)

    @cached_property
    def corr(self) -> pd.DataFrame | dict[Any, pd.DataFrame]:
        """Correlation matrix of the visits; by level of ``by``.

        Raises
        ------
        ValueError
            As ``cov``.
        """

        def scaled(own):
            sd = np.sqrt(np.diag(own))
            return own / np.outer(sd, sd)

        return self._by_level(scaled)

    def _by_level(self, of):
        bound, labels = self._bound, visit_labels(self._bound)
        if labels is None and bound.correlation is None:
            raise ValueError("the errors are independent: there is no matrix of visits")
        if labels is None:
            raise ValueError(
                f"{bound.spec} goes by distances: there is no matrix of visits; "
                "group(label) is that of a residual group"
            )
        index = pd.Index(labels, name=bound.visit_name or None)
        frames = []
        for own, _ in visit_matrices(self._fitted):
            values = of(self._fitted.scale * own)
            frames.append(pd.DataFrame(values, index=index, columns=index))
        if not bound.level_labels:
            return frames[0]
        return dict(zip(bound.level_labels, frames, strict=True))

    @property
    def _left_out(self) -> list[str]:
        found = visit_matrices(self._fitted)
        left = found[0][1] if found else []
        texts = [self._bound.function_texts[k] for k in left]
        return (
            [f"cov is at standard deviations of one by {', '.join(texts)}"] if left else []
        )

    def group(self, label: Any) -> pd.DataFrame:
        """Covariance matrix R_i of the errors of one residual group.

        Parameters
        ----------
        label : object
            Label of the group; of several factors a tuple of labels, or these joined by
            colons, in the order of the groups' name.

        Returns
        -------
        DataFrame
            In the units of the data; rows and columns have the labels of the rows, in order
            of visit or time.

        Raises
        ------
        ValueError
            If there is no such group, or the rows are not in memory.
        """
        rows = group_rows(self._fitted, label)
        values = error_covariance(self._fitted, rows)
        return _labelled(self._fitted, rows, values)


def printed_parameters(table: pd.DataFrame) -> pd.DataFrame:
    """Texts of ``ResidualCovariance.conf_int``, with the digits that errors leave.

    SAS's names stand in a column where they are not those of the rows.
    """
    text: dict[str, list[str]] = {}
    if any(sas and sas != own for own, sas in table["sas"].items()):
        text["SAS"] = table["sas"].to_list()
    numbers = table[["estimate", "std_err", "lower", "upper"]]
    forms = [
        number_format(enough_decimals([se], [value]), [value, se])
        for value, se in numbers[["estimate", "std_err"]].to_numpy()
    ]
    for name, column in numbers.items():
        pairs = zip(column, forms, strict=True)
        text[str(name)] = [number_texts([value], form)[0] for value, form in pairs]
    return pd.DataFrame(text, dtype=object, index=table.index)


def residual(results: HasFitted) -> ResidualCovariance:
    """The residual covariance: parameters, matrices over visits and of groups.

    Returns
    -------
    ResidualCovariance
        ``params``, ``conf_int()``, ``cov``, ``corr``, ``group(label)``; prints as SAS's
        table of covariance parameters.

    Raises
    ------
    ValueError
        If the model states no residual covariance.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> model = mx.mixedlm("Reaction ~ Days", data, residual="ar1(Days | Subject)")
    >>> result = model.fit()
    >>> result.residual.params.round(2).to_dict()
    {'sigma^2': 2451.73, 'rho': 0.8}
    >>> result.residual.cov.iloc[:2, :2].to_numpy().round(1)
    array([[2451.7, 1961.3],
           [1961.3, 2451.7]])
    """
    fitted = results.fitted
    return ResidualCovariance(str(residual_of(fitted).bound), fitted)


def marginal_cov(results: HasFitted, label: Any, group: str | None = None) -> pd.DataFrame:
    """Covariance matrix Z D Z' + R of the response within one group.

    Parameters
    ----------
    label : object
        Label of a residual group; without ``residual=`` of a level of the first grouping
        factor.
    group : str, optional
        Grouping factor of the random effects of which ``label`` is a level.

    Returns
    -------
    DataFrame
        In the units of the data; rows and columns have the labels of the rows.

    Raises
    ------
    ValueError
        If there is no such group, or the rows are not in memory.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> result.marginal_cov("B").iloc[:2, :2].round(1)
            5       6
    5  4215.3  1764.0
    6  1764.0  4215.3
    """
    fitted = results.fitted
    if group is None and fitted.fit.residual is not None:
        rows = group_rows(fitted, label)
    else:
        rows = _level_rows(fitted, label, group)
    values = error_covariance(fitted, rows) + random_part(fitted, rows[None])[0]
    return _labelled(fitted, rows, values)


# ---- rows ----


def group_rows(fitted: Fitted, label: Any) -> np.ndarray:
    """Numbers of the rows of a residual group, in order of visit or time."""
    bound = residual_of(fitted).bound
    fitted.need_rows()
    labels = bound.group_labels
    code = _place_of(label, labels, f"residual groups ({bound.group_name})")
    for batch in bound.batches:
        found = np.flatnonzero(batch.group == code)
        if len(found):
            return batch.rows[found[0]]
    raise AssertionError(f"no batch holds the group {label!r}")


def _level_rows(fitted: Fitted, label: Any, group: str | None) -> np.ndarray:
    terms = [t for t in fitted.need_rows().terms if isinstance(t, RandomTerm)]
    names = list(dict.fromkeys(t.group for t in terms))
    if not names:
        raise ValueError(
            "the model has neither residual= nor random effects by a grouping factor: the "
            "rows are independent"
        )
    group = names[0] if group is None else group
    if group not in names:
        raise ValueError(
            f"group={group!r} is not a grouping factor of the model; there are: "
            f"{', '.join(names)}{did_you_mean(group, names)}"
        )
    term = next(t for t in terms if t.group == group)
    code = _place_of(label, list(term.levels), f"levels of {group}")
    return np.flatnonzero(term.codes == code)


def _place_of(label: Any, labels: Sequence[Any], what: str) -> int:
    for code, own in enumerate(labels):
        if _is_label(own, label):
            return code
    shown = ", ".join(repr(own) for own in labels[:MOST_LABELS])
    shown += ", ..." if len(labels) > MOST_LABELS else ""
    raise ValueError(f"label={label!r} is none of the {what}: {shown}")


def _is_label(own: Any, label: Any) -> bool:
    """Whether a level is meant; a missing label, or a list, means none.

    A tuple means the level that is this tuple, or that of an interaction.
    """
    if isinstance(label, tuple):
        return bool(own == (label if isinstance(own, tuple) else ":".join(map(str, label))))
    scalars = pd.api.types.is_scalar(own) and pd.api.types.is_scalar(label)
    return scalars and not pd.isna(label) and bool(own == label)


def _labelled(fitted: Fitted, rows: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    labels = fitted.need_rows().labels
    index = pd.Index(rows) if labels is None else pd.Index(labels)[rows]
    return pd.DataFrame(values, index=index, columns=index)


def error_covariance(fitted: Fitted, rows: np.ndarray) -> np.ndarray:
    """Covariance matrix of the errors of some rows, (s, s), in the units of the data."""
    weights = fitted.need_rows().weights
    out, residual = np.eye(len(rows)), fitted.fit.residual
    if residual is not None:
        out = np.zeros((len(rows), len(rows)))
        place = np.full(residual.bound.n_obs, -1)
        place[rows] = np.arange(len(rows))
        for batch, own in zip(residual.bound.batches, residual.matrices(), strict=True):
            for number in np.flatnonzero((place[batch.rows] >= 0).any(axis=1)):
                at = place[batch.rows[number]]
                inside = np.flatnonzero(at >= 0)
                block = own[batch.pattern[number]][np.ix_(inside, inside)]
                out[np.ix_(at[inside], at[inside])] = block
    if weights is not None:
        root = np.sqrt(weights[rows])
        out = out / np.outer(root, root)
    return fitted.scale * out


def random_part(fitted: Fitted, rows: np.ndarray) -> np.ndarray:
    """Z D Z' of sets of rows, (G, s) numbers, as (G, s, s) in the units of the data."""
    out = np.zeros((*rows.shape, rows.shape[1]))
    covariances = fitted.random.covariances
    for term, own in zip(fitted.need_rows().terms, covariances, strict=True):
        if isinstance(term, SparseTerm):
            for number, of_one in enumerate(rows):
                z = sparse.csr_array(term.matrix)[of_one]
                out[number] += own[0, 0] * (z @ z.T).toarray()
            continue
        z, codes = np.asarray(term.z, float)[rows], term.codes[rows]
        both = codes[:, :, None] == codes[:, None, :]
        out += np.where(both, np.einsum("gai,ij,gbj->gab", z, own, z), 0.0)
    return out


# ---- visits ----


def visit_labels(bound: BoundResidual) -> list | None:
    """Labels of the places 0, ..., m - 1; None where rows stand at distances."""
    if any(b.place.ndim > 2 for b in bound.batches) or bound.correlation is None:
        return None
    if bound.visit_labels is not None:
        return list(bound.visit_labels)
    m = 1 + max(int(b.place.max(initial=0)) for b in bound.batches)
    return list(range(1, m + 1))  # by the order of the rows


def row_places(bound: BoundResidual) -> np.ndarray | None:
    """Place of the visit of every row, (n,); None where rows stand at distances."""
    if any(b.place.ndim > 2 for b in bound.batches):
        return None
    out = np.zeros(bound.n_obs, np.intp)
    for batch in bound.batches:
        out[batch.rows] = batch.place[batch.pattern]
    return out


@once_a_fit
def visit_matrices(fitted: Fitted) -> list[tuple[np.ndarray, list[int]]]:
    """Lambda of the visits by level, and numbers of the functions that are left out.

    Empty where rows stand at distances, or are independent.
    """
    residual = residual_of(fitted)
    labels = visit_labels(residual.bound)
    if labels is None:
        return []
    given = residual.bound, residual.psi, len(labels)
    return [_visit_matrix(curve, *given) for curve in residual.curves]


@once_a_fit
def residual_sizes(fitted: Fitted) -> np.ndarray | None:
    """Rows of each residual group; None where each row is one."""
    batches = residual_of(fitted).bound.batches
    sizes = np.repeat([b.size for b in batches], [len(b.rows) for b in batches])
    return sizes if sizes.max(initial=1) > 1 else None


def forget_residual_rows(fitted: Fitted) -> None:
    """Remove the numbers of rows from the residual covariance of a fit.

    What is told without the rows is computed before.  Patterns of groups stay, and the
    sums or rows by group that information on the variances is made of.
    """
    residual = fitted.fit.residual
    if residual is None:
        return
    _ = natural_estimates(fitted), visit_matrices(fitted), residual_sizes(fitted)
    bound = residual.bound
    batches = tuple(
        replace(b, rows=b.rows[:0], pattern=b.pattern[:0], group=b.group[:0])
        for b in bound.batches
    )
    residual.bound = replace(
        bound,
        batches=batches,
        group_codes=bound.group_codes[:0],
        visit_codes=None if bound.visit_codes is None else bound.visit_codes[:0],
        row_strata=(None,) * len(bound.functions),
        row_covariates=(None,) * len(bound.functions),
        fallbacks=(),
    )


def _row_levels(bound: BoundResidual) -> np.ndarray:
    """Number of the level of ``by`` of every row, (n,)."""
    out = np.zeros(bound.n_obs, np.intp)
    for batch in bound.batches:
        out[batch.rows] = batch.level[batch.pattern][:, None]
    return out


def _visit_matrix(
    curve: ResidualCurve, bound: BoundResidual, psi: np.ndarray, m: int
) -> tuple[np.ndarray, list[int]]:
    """Lambda of the visits of one level, and numbers of the functions that are left out.

    A function counts if it has one value in all rows of a visit; others are not the
    visits'.  NaN at visits without rows where one counts.
    """
    visit = bound.visit_codes if bound.visit_codes is not None else row_places(bound)
    assert visit is not None
    assert bound.correlation is not None
    here = np.flatnonzero(_row_levels(bound) == curve.number)
    seen, first, of_row = np.unique(visit[here], return_index=True, return_inverse=True)
    own, left = psi[curve.at], []
    log_sd = np.zeros(m)
    for number, (function, at) in enumerate(
        zip(curve.functions, curve.slices, strict=True)
    ):
        known = bound.row_strata[number], bound.row_covariates[number]
        values = [None if c is None else c[here] for c in known]
        if any(c is not None and (c != c[first][of_row]).any() for c in values):
            left.append(number)
            continue
        strata, covariate = (None if c is None else c[first] for c in values)
        if strata is None:
            strata = np.zeros(len(seen), np.intp)
        out = np.full(m, np.nan)
        out[seen] = function.log_sd(own[at], strata, covariate)
        log_sd += out
    matrix = bound.correlation.matrix(own[curve.n_sd :], np.arange(m)[None])[0]
    sd = np.exp(log_sd)
    return matrix * np.outer(sd, sd), left
