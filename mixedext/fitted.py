"""Fitted: one frozen record of a fit, which every question reads.

The engine knows no names and the questions of ``inference`` no class of results; between
them stands this record.  ``fit()`` makes it complete, and nothing is set on it afterwards.
Functions of ``inference`` take results first, which have the record as
``results.fitted``; a record is its own ``fitted``: it serves in the place of results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd

from mixedext.engine.fit import Fit
from mixedext.engine.rows.design import Design
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.terms.packing import ParameterLayout
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "BY_DEFAULT",
    "ClusterEstimate",
    "DfChoice",
    "FitArguments",
    "Fitted",
    "FixedPart",
    "HasFitted",
    "InferenceSettings",
    "Model",
    "ModelRows",
    "RandomBlock",
    "RandomPart",
    "has_rows",
    "need_rows",
    "once",
    "once_a_fit",
]

T = TypeVar("T")

_REMOVED = "the data of this model were removed; make the model again"
_IN_CHUNKS = (
    "the rows of this model are in chunks, not in memory, and are needed here. "
    "Without them results.by_chunk() gives fitted values and residuals, and there are "
    "anova(type='I') and 'II', drop1() and profile(); for all else fit the formula by "
    "mixedlm() to a DataFrame of the columns that it names"
)


class Model(Protocol):
    """What questions ask of a model besides its fit: names, formula, and other fits.

    Attributes
    ----------
    exog_names, endog_names : list of str, str
        Names of the fixed-effects columns, all of them, and of the response.
    nobs, k_fe, k_re, k_re2, k_vc : int
        Number of rows; of columns of the fixed effects; of correlated random effects of
        ``groups``, of the elements of their covariance, and of variance components.
    layout : ParameterLayout
        Names and packing of the variance parameters.
    random_terms : list of RandomTerm or SparseTerm or None
        Random terms with their rows; None once these are removed.
    weights, offset, exog, endog : ndarray or None
        The rows; None without them.
    data : ModelData
        statsmodels' record of the data: ``frame``, ``row_labels``, ``param_names``.
    formula, fixed_formula, offset_terms, namespace, aliases
        How a formula has stated the model; only of models that one has stated.
    recipes : tuple of TermRecipe or None
        How a formula has stated each random term; None where not all of them.
    offset_name, offset_by_rows
        The column that ``offset`` names, or whether it was given as values.
    emptied : dict
        For each categorical column its categories that no row has.
    source, plan : ChunkSource or None, ChunkPlan
        Where rows in chunks come from, and how a formula is evaluated on each.
    residual, residual_spec : BoundResidual, StatedResidual or None
        The residual covariance, and as it was stated, with the columns that it names.
    use_sqrt, stated_by_groups : bool
        As statsmodels has it; whether ``groups`` says all random terms.
    groups, grouped, group_labels, group_sizes
        Labels of the rows, the random terms that they state, levels and their rows.
    main_term, components, component_columns, group_name, group_levels
        The groups of statsmodels: number of their own term, numbers and columns of
        their variance components, name and labels.
    """

    exog_names: Any
    endog_names: Any
    nobs: int
    k_fe: int
    k_re: int
    k_re2: int
    k_vc: int
    use_sqrt: bool
    layout: ParameterLayout
    random_terms: Any
    weights: Any
    offset: Any
    residual: Any
    exog: Any
    endog: Any
    data: Any
    groups: Any
    grouped: Any
    source: Any
    plan: Any
    residual_spec: Any
    main_term: int | None
    components: tuple[int, ...]
    component_columns: tuple
    group_name: Any
    group_levels: Any
    group_labels: Any
    formula: Any
    fixed_formula: Any
    offset_terms: Any
    offset_name: str | None
    offset_by_rows: bool
    emptied: dict[Any, pd.Index]
    namespace: Any
    aliases: Any
    recipes: Any

    _design: Design
    _group_codes: Any

    @property
    def stated_by_groups(self) -> bool: ...

    @property
    def group_sizes(self) -> np.ndarray | None: ...

    def _fitted(self, *args: Any, **kwargs: Any) -> Fitted:
        """The record of another fit; nothing is remembered of it on the model."""

    def _present(self, fitted: Fitted) -> Any:
        """A record of a fit as the results that users see."""

    def _with_response(self, endog: Any) -> Model:
        """The model with another response."""

    def objective(self, theta: Any, reml: bool = True) -> tuple[float, np.ndarray]: ...

    def fit(self, *args: Any, **kwargs: Any) -> Any: ...

    def refit(self, endog: Any, reml: bool = True, **kwargs: Any) -> Any: ...


class ClusterEstimate(Protocol):
    """A cluster-robust covariance of the coefficients; see ``fixed_effects.robust``."""

    covariance: np.ndarray
    root: np.ndarray
    inner: np.ndarray
    moments: Any
    told: Any
    n_clusters: tuple[int, ...]


@dataclass(frozen=True)
class DfChoice:
    """How degrees of freedom are found: what travels from an argument to the tests.

    Made by ``fixed_effects.df_methods.df_choice``, which reads and checks arguments.

    Attributes
    ----------
    df_method : str or None
        Name of a method, "z" for the normal law; None for the fit's own.
    information : {"expected", "observed"} or None
        Which information on the variances Kenward and Roger's method inverts; None for
        the fit's own, and of other methods.
    """

    df_method: str | None = None
    information: str | None = None


BY_DEFAULT = DfChoice()


@dataclass(frozen=True, eq=False)
class InferenceSettings:
    """The covariance of the parameters and the tests that were chosen.

    Attributes
    ----------
    choice : DfChoice
        Degrees of freedom of tests of fixed effects where none are asked for; of a
        cluster-robust covariance with its own degrees of freedom no method.
    asked : DfChoice
        What the arguments of ``fit`` said, so that refits are asked for alike.
    default : str or None
        ``mx.options.df_method`` at the fit.
    df_note : str
        Why ``choice`` is not the default; empty where it is.
    use_t : bool
        t and F, or normal and chi-squared laws.
    cov_type : str
        Type of the covariance, as given.
    estimator : {"nonrobust", "oim", "CR0", "CR1", "CR2", "CR3"}
        What it stands for.
    cov_kwds : Mapping
        What it was made with, and a description.
    cluster : ClusterEstimate or None
        The cluster-robust estimate.
    cluster_df : {"clusters", "bell-mccaffrey"}
        Degrees of freedom that go with it.
    df_resid_inference : float or None
        Degrees of freedom of all tests, where clusters determine them.
    """

    choice: DfChoice = DfChoice("z")
    asked: DfChoice = BY_DEFAULT
    default: str | None = None
    df_note: str = ""
    use_t: bool = False
    cov_type: str = "nonrobust"
    estimator: str = "nonrobust"
    cov_kwds: dict[str, Any] = field(default_factory=dict)
    cluster: ClusterEstimate | None = None
    cluster_df: str = "clusters"
    df_resid_inference: float | None = None

    @property
    def df_method(self) -> str | None:
        """Name of the method that is chosen."""
        return self.choice.df_method


@dataclass(frozen=True, eq=False)
class FitArguments:
    """How the fit was asked for, so that refits are asked for alike.

    Attributes
    ----------
    start_params, free, fe_pen, cov_pen : object or None
        What holds or penalizes parameters.
    options : Mapping
        Other arguments of ``fit``.
    repeatable : bool
        Whether ``fit`` with these arguments gives such a fit again; an L1 penalty at the
        covariances of another fit is not.
    """

    start_params: Any = None
    free: Any = None
    fe_pen: Any = None
    cov_pen: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True

    def held(self, what: str) -> dict[str, Any]:
        """Arguments of ``fit`` that hold or penalize parameters; empty if none do.

        Raises
        ------
        ValueError
            If no refit can have them; names ``what`` wanted to refit.
        """
        if not self.repeatable:
            raise ValueError(
                f"{what} fits the model again, but this fit has an L1 penalty at the "
                "covariances of another one; bootstraps of such estimates are not valid "
                "either. Use results of fit"
            )
        if self.free is None and self.fe_pen is None and self.cov_pen is None:
            return {}
        return {
            "start_params": self.start_params,
            "free": self.free,
            "fe_pen": self.fe_pen,
            "cov_pen": self.cov_pen,
        }


@dataclass(frozen=True, eq=False)
class FixedPart:
    """The fixed effects: all columns, and which of them have coefficients.

    Attributes
    ----------
    names : tuple of str
        Names of all columns, (k,).
    kept : ndarray
        Numbers of the columns that have coefficients, (rank,); the others depend on
        earlier ones.
    coefficients : ndarray
        Coefficients of the columns kept, (rank,).
    """

    names: tuple[str, ...]
    kept: np.ndarray
    coefficients: np.ndarray

    @property
    def rank(self) -> int:
        """Number of columns that have coefficients."""
        return len(self.kept)

    @cached_property
    def estimate(self) -> np.ndarray:
        """Coefficients of all columns, (k,); NaN where dropped."""
        return self.full(self.coefficients)

    @property
    def dropped(self) -> np.ndarray:
        """Which columns were dropped, (k,) bool."""
        out = np.ones(len(self.names), bool)
        out[self.kept] = False
        return out

    def full(self, vector: np.ndarray) -> np.ndarray:
        """Values of the columns kept as values of all, (k,); NaN where dropped."""
        out = np.full(len(self.names), np.nan)
        out[self.kept] = vector
        return out

    def full_square(self, matrix: np.ndarray) -> np.ndarray:
        """A matrix over the columns kept as one over all, (k, k); NaN where dropped."""
        out = np.full((len(self.names),) * 2, np.nan)
        out[np.ix_(self.kept, self.kept)] = matrix
        return out


class RandomBlock(NamedTuple):
    """One random term and what the fit says of it.

    Attributes
    ----------
    term : RandomTerm or SparseTerm
        The term; its rows may be gone.
    structure : Structure
        Structure of its covariance.
    covariance : ndarray
        Covariance matrix of the effects of one level, (k, k), in the units of the data.
    """

    term: RandomTerm | SparseTerm
    structure: TermStructure
    covariance: np.ndarray


@dataclass(frozen=True, eq=False)
class RandomPart:
    """The random effects.

    Attributes
    ----------
    terms : tuple of RandomTerm or SparseTerm
        The terms in the model's order; their rows may be gone.
    covariances : tuple of ndarray
        Covariance matrix of each, (k, k).
    """

    terms: tuple[RandomTerm | SparseTerm, ...]
    covariances: tuple[np.ndarray, ...]

    def blocks(self) -> Iterator[RandomBlock]:
        """Every term with its structure and covariance, in order."""
        for term, covariance in zip(self.terms, self.covariances, strict=True):
            yield RandomBlock(term, term.structure, covariance)

    @property
    def groups(self) -> list[str]:
        """Names of the grouping factors, each once, in order."""
        return list(dict.fromkeys(t.group for t in self.terms))


@dataclass(frozen=True, eq=False)
class ModelRows:
    """The rows of the data that the model uses.

    Attributes
    ----------
    endog : ndarray
        Response, (n,).
    exog : ndarray
        All columns of the fixed effects, (n, k).
    terms : list of RandomTerm or SparseTerm
        Random terms.
    weights, offset : ndarray or None
        Precision weights and known part of the mean, (n,).
    labels : Index or None
        Labels of the rows.
    frame : DataFrame or None
        The data of a formula.
    """

    endog: np.ndarray
    exog: np.ndarray
    terms: list[RandomTerm | SparseTerm]
    weights: np.ndarray | None
    offset: np.ndarray | None
    labels: pd.Index | None
    frame: pd.DataFrame | None

    def mean(self, coefficients: Any, effects: Any = None) -> np.ndarray:
        """Mean of the rows: offset, fixed effects and, if given, random effects.

        Parameters
        ----------
        coefficients : array_like
            Fixed effects, (k,); NaN counts as 0 (dropped columns).
        effects : sequence of ndarray, optional
            Random effects of every term, (L, k).
        """
        mean = self.exog @ np.nan_to_num(np.asarray(coefficients, float))
        if self.offset is not None:
            mean = mean + self.offset
        if effects is not None:
            for term, effect in zip(self.terms, effects, strict=True):
                mean += term.contribution(effect)
        return mean


def rows_of(model: Model) -> ModelRows | None:
    """The rows of a model; None where they are in chunks or were removed."""
    if not has_rows(model):
        return None
    return ModelRows(
        model.endog,
        model.exog,
        model.random_terms,
        model.weights,
        model.offset,
        model.data.row_labels,
        getattr(model.data, "frame", None),
    )


def has_rows(model: Model) -> bool:
    """Whether the rows of a model are in memory."""
    return model.endog is not None


def need_rows(model: Model) -> ModelRows:
    """The rows of a model.

    Raises
    ------
    ValueError
        If they are in chunks, or were removed; says what there is without them.
    """
    rows = rows_of(model)
    if rows is None:
        raise ValueError(_REMOVED if model.source is None else _IN_CHUNKS)
    return rows


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a question reads of a fitted model.

    Attributes
    ----------
    fit : Fit
        The engine's, in the units of the data.
    model : Model
        What was fitted: names, formula, and other fits.
    settings : InferenceSettings
        The covariance of the parameters and the tests that were chosen.
    arguments : FitArguments
        How the fit was asked for.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> fitted = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit().fitted
    >>> fitted.fixed.names, fitted.fixed.estimate.round(2)
    (('Intercept', 'Days'), array([251.41,  10.47]))
    >>> for block in fitted.random.blocks():
    ...     print(block.term.group, block.covariance.diagonal().round(1))
    Subject [612.1  35.1]
    """

    fit: Fit
    model: Model
    settings: InferenceSettings = InferenceSettings()
    arguments: FitArguments = FitArguments()
    # what has been computed: of the fit whatever the settings, and by these settings
    _of_fit: dict[str, Any] = field(default_factory=dict, repr=False)
    _of_settings: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def fitted(self) -> Fitted:
        """The record itself: it serves in the place of results."""
        return self

    def with_settings(self, settings: InferenceSettings) -> Fitted:
        """The same fit with another covariance of the parameters or other tests."""
        # dataclasses.replace takes as long as a small fit's derivatives
        return Fitted(self.fit, self.model, settings, self.arguments, self._of_fit)

    # ---- parts ----

    @cached_property
    def fixed(self) -> FixedPart:
        """The fixed effects."""
        kept = np.asarray(self.fit.design.basis.kept)
        return FixedPart(tuple(self.model.exog_names), kept, self.fit.coefficients)

    @cached_property
    def random(self) -> RandomPart:
        """The random effects."""
        return RandomPart(tuple(self.fit.design.terms), tuple(self.fit.covariances))

    @property
    def rows(self) -> ModelRows | None:
        """The rows of the data; None where they are in chunks or were removed."""
        return rows_of(self.model)

    def need_rows(self) -> ModelRows:
        """The rows of the data.

        Raises
        ------
        ValueError
            If they are in chunks, or were removed; says what there is without them.
        """
        return need_rows(self.model)

    @property
    def generalized(self) -> Any:
        """The fit where it is of a generalized model; None of a linear one."""
        return getattr(self.fit, "generalized", None)

    # ---- numbers ----

    @property
    def reml(self) -> bool:
        """Restricted or ordinary maximum likelihood."""
        return self.fit.reml

    @property
    def scale(self) -> float:
        """Residual variance."""
        return self.fit.scale

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return float(np.sqrt(self.fit.scale))

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return self.model.nobs

    @property
    def is_weighted(self) -> bool:
        """Whether rows have precision weights."""
        model = self.model
        return model.weights is not None or bool(model.source and model.plan.weights)

    @property
    def df_resid(self) -> int:
        """Number of rows less the rank of the fixed effects."""
        return self.nobs - self.fixed.rank


class HasFitted(Protocol):
    """Results, or a ``Fitted`` itself: what functions of ``inference`` take first."""

    @property
    def fitted(self) -> Fitted: ...


def once_a_fit(function: Callable[[Fitted], T]) -> Callable[[Fitted], T]:
    """Make a function of a Fitted compute once a fit, whatever the settings are."""
    key = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def kept(fitted: Fitted) -> T:
        if key not in fitted._of_fit:
            fitted._of_fit[key] = function(fitted)
        return fitted._of_fit[key]

    return kept


def once(function: Callable[[Fitted], T]) -> Callable[[Fitted], T]:
    """Make a function of a Fitted compute once for its settings."""
    key = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def kept(fitted: Fitted) -> T:
        if key not in fitted._of_settings:
            fitted._of_settings[key] = function(fitted)
        return fitted._of_settings[key]

    return kept
