"""MixedGLM: generalized linear mixed models, stated as in statsmodels or in lme4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from statsmodels.base.model import LikelihoodModel

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.engine.generalized.design import GeneralizedDesign, prepare_rows
from mixedext.fitted import Fitted, has_rows, need_rows
from mixedext.inference.prediction.predictions import predict_at
from mixedext.models.glmm import fitting, refitting
from mixedext.models.glmm.checks import (
    check_dispersion_told,
    check_rows_count,
    check_terms_stated,
    check_variances_told,
    one_weights,
    refuse_arguments,
)
from mixedext.models.glmm.reading import read_arrays, read_frame
from mixedext.models.glmm.results import MixedGLMResults, MixedGLMResultsWrapper
from mixedext.models.mixedlm.identification import check_identification
from mixedext.models.mixedlm.stated import Stated
from mixedext.models.mixedlm.statsmodels_face.model_data import model_data
from mixedext.models.stated_model import StatedModel
from mixedext.other_names import no_model_attribute
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.formula.bars import check_is_text, check_re_formula
from mixedext.specification.formula.given_columns import column_name
from mixedext.specification.formula.namespace import (
    caller_namespace,
)
from mixedext.specification.terms.grouped import check_grouped
from mixedext.specification.terms.packing import ParameterLayout
from mixedext.specification.terms.random_terms import (
    RandomTerm,
    SparseTerm,
    check_group_names,
    check_terms,
)

__all__ = ["MixedGLM", "glmm"]

_NO_FAMILY = (
    "family= is needed: 'binomial', 'poisson', 'negative binomial', 'gamma', 'beta' or "
    "another, or an instance of statsmodels' families; for a Gaussian response with "
    "identity link use mixedlm"
)


class MixedGLM(StatedModel, LikelihoodModel):
    """Generalized linear mixed model with any number of nested and crossed random terms.

    The response has a law of an exponential family (or a negative binomial, beta or
    beta-binomial one) whose mean is g^-1(X beta + Z b + offset), b normal.

    Parameters
    ----------
    endog : array_like
        Response, (n,); for binomial families also (n, 2), successes and failures, or two
        categories, of which the second is success.
    exog : array_like or None
        Fixed-effects columns, (n, k); None for a model without fixed effects.
    groups, exog_re, exog_vc : optional
        Random terms as statsmodels' ``MixedLM`` has them; see ``mx.MixedLM``.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error ("none", "raise") or are left out.
    family : str or statsmodels family
        Law and link: "binomial", "binomial(probit)", "poisson", "gamma",
        "inverse gaussian", "negative binomial", "nb1", "beta", "beta binomial",
        "gaussian", or an instance such as ``sm.families.Binomial()``.
    terms : list of RandomTerm or SparseTerm, optional
        Random terms; may be used with or without ``groups``.
    weights : array_like, optional
        Numbers of trials where the response is a proportion.  Else prior weights w, as
        statsmodels' ``var_weights``: -log f times w of binomial, Poisson, negative
        binomial and beta responses, a dispersion of phi / w for the others.
    var_weights : array_like, optional
        Another name of ``weights``.
    freq_weights : array_like, optional
        Whole numbers: how often each row counts.
    offset : array_like, optional
        Known part of the linear predictor.
    exposure : array_like, optional
        Positive; its logarithm is added to the linear predictor (log link only).
    **kwargs
        ``formula``, ``model_spec``, ``hasconst`` as in statsmodels.

    Raises
    ------
    TypeError
        If ``family`` is a class in place of an instance.
    ValueError
        If the response is outside the family's range, or an argument has the wrong shape
        or type; if there is no random term.
    DesignError
        If a random term's variance cannot be told; a ValueError.
    MissingDataError
        If values are missing and ``missing`` is not "drop".

    Warns
    -----
    RankDeficientWarning
        If columns of ``exog`` depend on earlier ones; they get NaN coefficients.
    ResponseWarning
        If counts, or proportions times trials, are not whole numbers.
    UnidentifiedVarianceWarning
        If a dispersion is estimated beside a term with one row a level.

    See Also
    --------
    glmm : the same from a formula and a data frame.

    References
    ----------
    Breslow and Clayton (1993), Approximate inference in generalized linear mixed models,
    Journal of the American Statistical Association 88, 9-25.

    Examples
    --------
    >>> import numpy as np
    >>> import mixedext as mx
    >>> rng = np.random.default_rng(1)
    >>> group = np.repeat(np.arange(30), 10)
    >>> y = rng.poisson(np.exp(1 + rng.normal(0, 0.5, 30)[group]))
    >>> model = mx.MixedGLM(y, np.ones((300, 1)), groups=group, family="poisson")
    >>> bool(abs(model.fit().fe_params[0] - 1) < 0.3)
    True
    """

    source: Any = None  # of rows in chunks, which these models do not have
    plan: Any = None
    residual_spec: Any = None
    residual: Any = None
    use_sqrt = True
    stated = Stated()
    # rows; None once they are removed
    endog: Any
    exog: Any
    random_terms: Any
    weights: Any
    offset: Any

    def __init__(
        self,
        endog: Any,
        exog: Any = None,
        groups: Any = None,
        exog_re: Any = None,
        exog_vc: Any = None,
        missing: str = "none",
        *,
        family: Any = None,
        terms: Sequence[RandomTerm | SparseTerm] | None = None,
        weights: Any = None,
        var_weights: Any = None,
        freq_weights: Any = None,
        offset: Any = None,
        exposure: Any = None,
        **kwargs: Any,
    ):
        own = {n: kwargs.pop(n, None) for n in ("formula", SPEC_ATTRIBUTE, "hasconst")}
        refuse_arguments(kwargs, "MixedGLM", MixedGLM.__init__, ["hasconst"])
        if family is None:
            raise ValueError(_NO_FAMILY)
        law = family_of(family)
        given = read_arrays(
            endog,
            exog,
            law,
            weights=one_weights(weights, var_weights),
            freq_weights=freq_weights,
            exposure=exposure,
            missing=missing,
            groups=groups,
            exog_re=exog_re,
            exog_vc=exog_vc,
            terms=terms,
            offset=offset,
        )
        frame = given.frame
        passed = {n: v for n, v in own.items() if v is not None}
        passed["exog_extremes"] = frame.exog_extremes
        self._settle(law, given, frame.exog, frame.terms, frame.grouped, passed)
        self.offset_by_rows = offset is not None
        self.exposure_by_rows = exposure is not None

    def _settle(self, family, given, exog, terms, grouped, kwargs):
        """Check the terms and set the attributes that statsmodels' models have."""
        response = given.response
        count = len(response.y)
        check_terms_stated(terms)
        check_rows_count(response)
        check_dispersion_told(family, response)
        own: list[Any] = []
        if grouped is not None:
            check_grouped(grouped, count)
            own = [] if grouped.main is None else [grouped.main]
        check_group_names(terms)
        check_terms(terms[0 if grouped is None else len(grouped.all_terms) :], count, True)
        check_variances_told(terms, family, response)
        LikelihoodModel.__init__(self, given.endog, exog, **kwargs)
        if self.exog is None:
            self.exog = np.zeros((count, 0))
            self.data.xnames = []
        self.family, self.response = family, response
        self.random_terms = list(terms)
        self.weights = response.weights
        self.n_trials, self.freq_weights = response.trials, response.counts
        self.offset, self.exposure = given.offset, given.exposure
        self.nobs = self.n_totobs = response.nobs
        self.exposure_name = self.group_name = None
        self._know_groups(grouped, 0 if own else None)
        self._data_attr.extend(
            ["random_terms", "weights", "offset", "exposure", "groups", "grouped"]
        )
        self._data_attr.extend(["response", "n_trials", "freq_weights", "data.frame"])
        self._data_attr.extend(["data.main_term", "data.orig_endog", "data.orig_exog"])
        self._name_parameters()
        self._engine_rows = prepare_rows(
            np.asarray(self.exog, float), self.random_terms, self.offset
        )
        self._design = self._engine_rows.units
        check_identification(self._design, self.random_terms, residual=False)
        self._warn_dropped()

    def _handle_data(self, endog, exog, missing, hasconst, **kwargs):
        return model_data(endog, exog, hasconst, **kwargs)

    def _name_parameters(self):
        layout = ParameterLayout.of(self.random_terms, self.main_term, self.components)
        self.layout = layout
        self.k_fe, self.k_re = self.exog.shape[1], len(layout.re_names)
        self.k_re2, self.k_vc = len(layout.covariance_names), len(layout.components)
        self.k_params = self.k_fe + layout.n_packed + self.family.n_dispersion
        names = list(self.data.xnames or []) + layout.names
        if self.family.n_dispersion:
            names.append(self.family.dispersion_name)
        self.data.param_names = names
        self.data.exog_re_names = list(layout.re_names)
        self.data.exog_re_names_full = layout.names

    @property
    def design_rows(self) -> GeneralizedDesign:
        """The rows in the engine's units; laid out again where a pickle has left them out.

        Raises
        ------
        ValueError
            If the rows were removed.
        """
        rows = self._engine_rows
        if rows is None:
            given = need_rows(self)
            rows = prepare_rows(np.asarray(given.exog, float), given.terms, given.offset)
            self._engine_rows = rows
        return rows

    @property
    def likelihood_rows(self) -> LikelihoodRows:
        """Family and response, as the engine takes them."""
        if not has_rows(self):
            need_rows(self)  # says why
        return LikelihoodRows(self.family, self.response)

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        family: Any = None,
        *,
        weights: Any = None,
        var_weights: Any = None,
        freq_weights: Any = None,
        offset: Any = None,
        exposure: Any = None,
        missing: str = "none",
        subset: Any = None,
        terms: Sequence[RandomTerm | SparseTerm] | None = None,
        groups: Any = None,
        re_formula: str | None = None,
        vc_formula: Mapping[str, str] | None = None,
        vc_formulas: Mapping[str, str] | None = None,
        exog_re: Any = None,
        exog_vc: Any = None,
        covariances: Mapping[str, Any] | None = None,
        eval_env: Any = None,
        **kwargs: Any,
    ) -> MixedGLM:
        """Model from a formula and a data frame.

        Parameters
        ----------
        formula : str
            Response, fixed effects, random terms in lme4's notation such as
            ``(1 + x | g)``, ``(x || g)``, ``(1 | a/b)``, and ``offset(...)``.  The left
            side is arithmetic: ``incidence / size`` is a proportion (of
            ``weights="size"`` trials), ``cbind(successes, failures)`` or
            ``successes + failures`` are two columns.
        data : DataFrame
            The data; or a table of polars, pyarrow or another library.
        family : str or statsmodels family
            Law and link, as for the class.
        weights, var_weights, freq_weights, offset, exposure : str or array_like, optional
            Column of ``data``, or one value a row; see the class.
        missing : {"none", "raise", "drop"}, optional
            Rows with missing values are an error ("none", "raise") or are left out.
        subset : array_like, optional
            Rows of ``data`` to use, for ``data.loc``.
        terms : list of RandomTerm or SparseTerm, optional
            Random terms that no formula says.
        groups, re_formula, vc_formula : optional
            Random terms as statsmodels' ``MixedLM`` states them; see ``mx.mixedlm``.
        vc_formulas : dict, optional
            Random terms as statsmodels' ``BinomialBayesMixedGLM`` states them: name to
            formula, whose columns have independent effects with one variance.
        exog_re, exog_vc : optional
            Random terms of ``groups`` as arrays.
        covariances : Mapping, optional
            Known relationship of the levels of a grouping factor, as for ``mx.mixedlm``.
        eval_env : int or Mapping, optional
            Where names that are no columns are looked up: levels up the stack, or a
            mapping; -1 for nowhere.
        **kwargs
            ``hasconst``.

        Returns
        -------
        MixedGLM

        Raises
        ------
        FormulaError
            If the formula cannot be read or evaluated; a ValueError.
        ValueError
            As for the class.

        Examples
        --------
        >>> import pandas as pd
        >>> import mixedext as mx
        >>> data = pd.DataFrame({"herd": list("aaabbbcccddd"), "period": [1, 2, 3] * 4})
        >>> data["sick"] = [3, 1, 0, 5, 2, 2, 0, 1, 0, 6, 3, 1]
        >>> data["size"] = 10
        >>> model = mx.glmm(
        ...     "sick / size ~ period + (1 | herd)", data, "binomial", weights="size"
        ... )
        >>> bool(model.fit().fe_params["period"] < 0)
        True
        """
        other = {n: v for n, v in kwargs.items() if n != "hasconst"}
        refuse_arguments(other, "glmm", MixedGLM.from_formula)
        check_is_text(formula)
        if family is None:
            raise ValueError(_NO_FAMILY)
        law = family_of(family)
        stated = Stated.of(
            re_formula,
            vc_formula,
            missing,
            groups=groups,
            weights=one_weights(weights, var_weights),
            offset=offset,
            freq_weights=freq_weights,
            exposure=exposure,
        )
        groups, vc_formula = _variance_formulas(
            groups, re_formula, vc_formula, vc_formulas, data, subset
        )
        texts = [formula, re_formula, *(vc_formula or {}).values()]
        texts = [f for f in texts if isinstance(f, str)]
        namespace = caller_namespace(texts, eval_env, depth=1)
        given = read_frame(
            formula,
            data,
            namespace,
            law,
            weights=one_weights(weights, var_weights),
            freq_weights=freq_weights,
            exposure=exposure,
            subset=subset,
            missing=missing,
            groups=groups,
            re_formula=re_formula,
            vc_formula=vc_formula,
            offset=offset,
            covariances=covariances,
        )
        model = cls.__new__(cls)
        model._from_frame(law, given, terms, exog_re, exog_vc, formula, kwargs)
        model.stated = replace(
            stated,
            family=family,
            covariances=None if covariances is None else dict(covariances),
            vc_formulas=None if not vc_formulas else dict(vc_formulas),
        )
        model.exposure_name = column_name(exposure)
        model.exposure_by_rows = exposure is not None and column_name(exposure) is None
        return model

    def _from_frame(self, law, given, terms, exog_re, exog_vc, formula, kwargs):
        frame = given.frame
        exog = frame.exog if frame.exog.shape[1] else None
        stated, grouped = list(frame.terms), frame.grouped
        if terms and frame.bar_terms:
            raise ValueError("terms= is given, and the formula has random terms in bars")
        recipes = frame.recipes
        if terms or exog_re is not None or exog_vc is not None:
            # arrays beside the formula go through the arrays' reader, for its checks
            again = read_arrays(
                given.endog.to_numpy(),
                frame.exog,
                law,
                weights=given.response.trials if law.has_trials else None,
                groups=frame.groups
                if exog_re is not None or exog_vc is not None
                else grouped,
                exog_re=exog_re,
                exog_vc=exog_vc,
                terms=[*frame.bar_terms, *(terms or ())],
            ).frame
            stated, grouped, recipes = list(again.terms), again.grouped, None
        passed = {"formula": formula, SPEC_ATTRIBUTE: frame.model_spec, **kwargs}
        self._settle(law, given, exog, stated, grouped, passed)
        self.data.frame = frame.data
        self._remember_formula(formula, frame)
        self.recipes = recipes

    # ---- fits ----

    fit = fitting.fit
    refit = refitting.refit
    objective = fitting.objective
    predict = predict_at
    _fitted = fitting.fitted_model
    _with_response = refitting.with_response

    def describe_blocks(self) -> str:
        """The block structure that a fit works on, and its memory, as text."""
        return self._design.describe()

    def _present(self, fitted: Fitted) -> MixedGLMResultsWrapper:
        """A record of a fit as the results that users see."""
        return MixedGLMResultsWrapper(MixedGLMResults(fitted))

    def loglike(self, params: Any, n_agq: int = 1, laplace: str = "observed") -> float:
        """Log-likelihood at ``params`` (see ``results.params``), with all constants."""
        start = fitting.read_start(self, params, "params")
        return -0.5 * self.objective(start, n_agq=n_agq, laplace=laplace)[0]

    def _get_init_kwds(self):
        own = len(self.components) + (self.main_term is not None)
        kwds = {
            "family": self.family,
            "groups": self.groups,
            "terms": list((self.random_terms or [])[own:]),
            "weights": self.weights,
            "offset": self.offset,
        }
        return kwds | ({"formula": self.formula} if hasattr(self, "formula") else {})

    # ---- names of other programs ----

    if not TYPE_CHECKING:  # the annotations say what there is

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that raised: its own message
                return object.__getattribute__(self, name)
            kind = f"{type(self).__name__!r} object"
            raise no_model_attribute(kind, name, dir(type(self)), dir(MixedGLMResults))

    # ---- pickling ----

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_engine_rows": None}


def _variance_formulas(groups, re_formula, vc_formula, vc_formulas, data, subset):
    """``groups`` and ``vc_formula``; those of BinomialBayesMixedGLM stand in one group."""
    for name, value in (("vc_formula", vc_formula), ("vc_formulas", vc_formulas)):
        if not isinstance(value, Mapping | None):
            raise ValueError(f"{name} must map names to formulas, not {value!r}")
    check_re_formula(re_formula)
    if not vc_formulas:
        return groups, vc_formula
    if groups is not None or vc_formula:
        raise ValueError(
            "vc_formulas= states terms without groups, as BinomialBayesMixedGLM; within "
            "groups write groups='g', vc_formula={...}"
        )
    rows = data if subset is None else data.loc[subset]
    return np.zeros(len(rows), int), dict(vc_formulas)


# As statsmodels.formula.api.glm: the class method under a short name.
glmm = MixedGLM.from_formula
