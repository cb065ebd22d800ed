"""MixedLM: statsmodels' linear mixed model on mixedext's engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from statsmodels.base.model import LikelihoodModel
from statsmodels.regression.mixed_linear_model import MixedLM as UpstreamMixedLM

from mixedext.arguments import did_you_mean
from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.rows.memory import available_memory
from mixedext.exceptions import (
    FIXED_EFFECTS,
    DesignError,
    FormulaError,
)
from mixedext.fitted import Fitted
from mixedext.inference.prediction import predictions
from mixedext.models.mixedlm import deviance_at, fitting, from_chunks, refitting
from mixedext.models.mixedlm.fitting import LastFit
from mixedext.models.mixedlm.identification import check_identification
from mixedext.models.mixedlm.masks import response_of
from mixedext.models.mixedlm.residual_fitting import name_residual
from mixedext.models.mixedlm.results import MixedLMResults, MixedLMResultsWrapper
from mixedext.models.mixedlm.stated import Stated
from mixedext.models.mixedlm.statsmodels_face import groups_view, likelihood
from mixedext.models.mixedlm.statsmodels_face.model_data import model_data
from mixedext.models.stated_model import StatedModel
from mixedext.other_names import MODEL_ARGUMENTS, no_model_attribute
from mixedext.specification.covariance.residual_binding import (
    BoundResidual,
    bind_stated,
)
from mixedext.specification.covariance.residual_columns import StatedResidual
from mixedext.specification.covariance.residual_terms import check_terms_apart
from mixedext.specification.formula.arrays import array_frame
from mixedext.specification.formula.bars import check_re_formula, split_formula
from mixedext.specification.formula.column_kinds import too_many_of
from mixedext.specification.formula.model_frame import model_frame
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

__all__ = ["MixedLM", "mixedlm"]


class MixedLM(StatedModel, UpstreamMixedLM):
    """Linear mixed-effects model with any number of nested and crossed random terms.

    Parameters
    ----------
    endog : array_like
        Response, shape (n,).
    exog : array_like or None
        Fixed-effects columns, shape (n, k); None for a model without fixed effects.
    groups : array_like, optional
        Labels of one grouping factor, shape (n,), as in statsmodels.
    exog_re : array_like, optional
        Columns with random coefficients by ``groups``; a random intercept if None.
    exog_vc : VCSpec, optional
        Variance components within ``groups``: matrices by component and group, dense or
        sparse, with any number of columns; the groups in sorted order.  Without
        ``exog_re`` the groups have then no random intercept, as in statsmodels.
    use_sqrt : bool, optional
        Kept for statsmodels; the engine always works with the root of the covariance.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error ("none", "raise") or are left out.
    terms : list of RandomTerm or SparseTerm, optional
        Random terms; may be used with or without ``groups``.  With neither the model
        is an ordinary linear model, fitted by ML or REML all the same.
    weights : array_like, optional
        Precision weights w, positive: the residual variance of a row is sigma^2 / w.
    offset : array_like, optional
        Known part of the mean, in the units of the response.
    residual : ResidualStructure or list of them, optional
        Correlation of the residuals within groups, as ``mx.AR1(visit, group=subject)``;
        of a list the first that the data allow.
    variance : VarIdent or another function of variance, optional
        Standard deviations of the residuals; a product or a list of several.
    **kwargs
        ``formula``, ``model_spec``, ``hasconst`` as in statsmodels.

    Raises
    ------
    DesignError
        If a random term's variance cannot be told from the residual, or the response is
        constant; a ValueError.
    ValueError
        If an argument has the wrong shape or type, or weights are not positive.
    MissingDataError
        If values are missing and ``missing`` is not "drop".

    Warns
    -----
    RankDeficientWarning
        If columns of ``exog`` depend on earlier ones; they get NaN coefficients.
    UnidentifiedVarianceWarning
        If variances of terms cannot be told apart, or a variance of ``groups`` or
        ``exog_vc`` may not be told from the residual's.

    See Also
    --------
    mixedlm : the same from a formula and a data frame.

    References
    ----------
    Bates, Maechler, Bolker and Walker (2015), Fitting linear mixed-effects models using
    lme4, Journal of Statistical Software 67(1).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.penicillin.load().data
    >>> plate, sample = (mx.RandomTerm(data[g], group=g) for g in ("plate", "sample"))
    >>> model = mx.MixedLM(data["diameter"], [[1.0]] * len(data), terms=[plate, sample])
    >>> round(float(model.fit().llf), 4)
    -165.4303
    """

    source: Any = None  # of rows in chunks
    residual_spec: StatedResidual | None = None
    residual: BoundResidual | None = None
    stated = Stated()
    # rows; None once they are removed, or where they are in chunks
    endog: Any
    exog: Any
    random_terms: Any
    weights: Any
    offset: Any
    _last_fit = LastFit()

    def __init__(
        self,
        endog: Any,
        exog: Any = None,
        groups: Any = None,
        exog_re: Any = None,
        exog_vc: Any = None,
        use_sqrt: bool = True,
        missing: str = "none",
        *,
        terms: Sequence[RandomTerm | SparseTerm] | None = None,
        weights: Any = None,
        offset: Any = None,
        residual: Any = None,
        variance: Any = None,
        **kwargs: Any,
    ):
        unknown = sorted(set(kwargs) - {"formula", SPEC_ATTRIBUTE, "hasconst"})
        if unknown:
            raise ValueError(
                f"argument {unknown[0]} not permitted for MixedLM initialization"
                f"{_what_to_write(unknown[0])}"
            )
        frame = array_frame(
            endog, exog, groups, exog_re, exog_vc, terms, weights, offset, missing,
            residual, variance,
        )  # fmt: skip
        grouped, given = frame.grouped, frame.terms
        if grouped is not None:
            check_grouped(grouped, frame.nobs)
            given = given[len(grouped.all_terms) :]
        own: list[Any] = []
        if grouped is not None and grouped.main is not None:
            own = [grouped.main]
        check_group_names(own + given)
        check_terms(given, frame.nobs, frame.weights is not None)
        kwargs["exog_extremes"] = frame.exog_extremes
        self._settle(frame, frame.nobs, 0 if own else None, kwargs)
        self.use_sqrt = use_sqrt
        self._design = prepare_design(
            response_of(self),
            self.exog,
            self.random_terms,
            self.weights,
        )
        stated = 0 if grouped is None else len(grouped.all_terms)
        check_identification(self._design, self.random_terms, range(stated))
        if frame.residual is not None:
            self.residual_spec = frame.residual
            self.residual = bind_stated(frame.residual, self.nobs, available_memory)
            if self.residual is not None:
                check_terms_apart(self.residual, self.random_terms)
                name_residual(self)
        self._warn_dropped()

    def _settle(self, frame, nobs, main_term, kwargs):
        """Set the attributes that statsmodels' models have."""
        # statsmodels' own constructor loops over rows and builds arrays by group.
        LikelihoodModel.__init__(self, frame.endog, frame.exog, **kwargs)
        if self.exog is None:
            self.exog = np.zeros((len(self.endog), 0))
            self.data.xnames = []
        self.random_terms = frame.terms
        self.weights, self.offset = frame.weights, frame.offset
        self.offset_by_rows = frame.offset is not None
        self.nobs = self.n_totobs = nobs
        self._know_groups(frame.grouped, main_term)
        if self.component_columns:
            self.data.vcomp_names = [c.name for c in self.component_columns]
        self._init_keys = ["use_sqrt", "groups", "exog_re", "exog_vc", "terms"]
        self._init_keys += ["weights", "offset"]
        self._data_attr.extend(["random_terms", "weights", "offset", "groups", "grouped"])
        self._data_attr.extend(["data.frame", "data.main_term"])
        # of formulas statsmodels keeps these, from which it makes a specification again
        self._data_attr.extend(["data.orig_endog", "data.orig_exog"])
        self._name_parameters()

    def _handle_data(self, endog, exog, missing, hasconst, **kwargs):
        return model_data(endog, exog, hasconst, **kwargs)

    def _name_parameters(self):
        layout = ParameterLayout.of(self.random_terms, self.main_term, self.components)
        self.layout = layout
        self.k_fe, self.k_re = self.exog.shape[1], len(layout.re_names)
        self.k_re2, self.k_vc = len(layout.covariance_names), len(layout.components)
        self.k_params = self.k_fe + self.k_re2
        self.data.param_names = list(self.data.xnames or []) + layout.names
        self.data.exog_re_names = list(layout.re_names)
        self.data.exog_re_names_full = layout.names

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        re_formula: str | None = None,
        vc_formula: Mapping[str, str] | None = None,
        subset: Any = None,
        use_sparse: bool = False,
        missing: str = "none",
        *args: Any,
        groups: Any = None,
        weights: Any = None,
        offset: Any = None,
        residual: Any = None,
        variance: Any = None,
        eval_env: Any = None,
        covariances: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> MixedLM:
        """Model from a formula and a data frame.

        Parameters
        ----------
        formula : str
            Fixed effects, random terms in lme4's notation such as ``(1 + x | g)``,
            ``(x || g)``, ``(1 | a/b)``, and ``offset(...)``.
        data : DataFrame
            The data; or a table of polars, pyarrow or another library with Arrow's
            interface or ``to_pandas``, as are columns given beside it.
        re_formula : str, optional
            Columns with random coefficients by ``groups``, as in statsmodels.
        vc_formula : dict, optional
            Variance components within ``groups``, as in statsmodels: name to formula,
            which is meant within each group.
        subset : array_like, optional
            Rows of ``data`` to use, for ``data.loc``.
        use_sparse : bool, optional
            Whether ``model.exog_vc.mats`` are sparse; the engine chooses its own storage.
        missing : {"none", "raise", "drop"}, optional
            Rows with missing values are an error ("none", "raise") or are left out.
        groups : str or array_like, optional
            Grouping factor of ``re_formula`` and ``vc_formula``.
        weights, offset : str or array_like, optional
            Column of ``data``, or one value a row.
        residual : str or ResidualStructure or list of them, optional
            Correlation of the residuals, as ``"ar1(visit | subject)"`` or
            ``mx.AR1("visit", group="subject")``; of a list the first that the data allow.
        variance : str or VarIdent or another function of variance, optional
            Standard deviations of the residuals, as ``"ident(sex) * power(time)"``.
        eval_env : int or Mapping, optional
            Where names that are no columns are looked up: levels up the stack, or a
            mapping; -1 for nowhere.
        covariances : Mapping, optional
            Known relationship of the levels of a grouping factor, (q, q): {"animal": A}
            for ``(1 | animal)``.  Rows of a DataFrame are matched by name; levels without
            records are allowed.
        **kwargs
            Arguments of the class; ``exog_re``, ``exog_vc`` and ``terms`` stand for what
            no formula says.

        Returns
        -------
        MixedLM

        Warns
        -----
        NoGroupInterceptWarning
            If ``vc_formula`` is given without ``re_formula``: as in statsmodels the
            groups have then no random intercept.

        Raises
        ------
        FormulaError
            If the formula cannot be read or evaluated; a ValueError.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> result.fe_params.round(3).to_dict()
        {'Intercept': 251.405, 'Days': 10.467}
        """
        check_re_formula(re_formula)
        if not isinstance(vc_formula, Mapping | None):
            raise ValueError(
                f"vc_formula must map names to formulas, not {vc_formula!r}: "
                "{'a': '0 + C(a)'}"
            )
        for name, text in (vc_formula or {}).items():
            if isinstance(text, str) and "|" in text:
                raise FormulaError(
                    f"vc_formula: {name!r} has a bar: {text!r}; give the columns alone, as "
                    "in {'a': '0 + C(a)'}, or the term (1 | g:a) in the formula"
                )
        formulas = [formula, re_formula, *(vc_formula or {}).values()]
        formulas = [f for f in formulas if isinstance(f, str)]
        namespace = caller_namespace(formulas, eval_env, depth=1)
        frame = model_frame(
            formula,
            data,
            namespace,
            groups=groups,
            re_formula=re_formula,
            vc_formula=vc_formula,
            weights=weights,
            offset=offset,
            residual=residual,
            variance=variance,
            subset=subset,
            missing=missing,
            use_sparse=use_sparse,
            covariances=covariances,
        )
        given: dict[str, Any] = {
            **_random_part(frame, kwargs, re_formula is None and not vc_formula),
            "weights": frame.weights,
            "offset": frame.offset,
            **({} if frame.residual is None else {"residual": frame.residual}),
            "formula": formula,
            SPEC_ATTRIBUTE: frame.model_spec,
        }
        exog = frame.exog if frame.exog.shape[1] else None
        make: Any = cls  # as statsmodels' classes, whatever their arguments are called
        try:
            model = make(frame.endog, exog, *args, **given, **kwargs)
        except DesignError as error:
            if error.too_many_in is None:
                raise
            split = split_formula(formula)
            bars = [*(bar.columns for bar in split.bars), re_formula or ""]
            texts = [split.fixed] if error.too_many_in == FIXED_EFFECTS else bars
            hint = too_many_of(frame.data, texts)
            if not hint:
                raise
            raise DesignError(f"{str(error).rstrip('.')}{hint}") from None
        model.data.frame = frame.data
        model._remember_formula(formula, frame)
        model.stated = Stated.of(
            re_formula, vc_formula, missing, groups=groups, weights=weights, offset=offset
        ).with_residual(residual, variance, frame.residual)
        if covariances is not None:
            model.stated = replace(model.stated, covariances=dict(covariances))
        if given["groups"] is not frame.grouped or given["terms"] != frame.bar_terms:
            model.recipes = None  # terms that no formula says are known by their names
        return model

    from_chunks = classmethod(from_chunks.from_chunks)

    # ---- fits ----

    fit = fitting.fit
    fit_regularized = fitting.fit_regularized
    refit = refitting.refit
    fit_many = refitting.fit_many
    objective = deviance_at.objective
    describe_blocks = deviance_at.describe_blocks
    predict = predictions.predict_at
    _fitted = fitting.fitted_model
    _with_response = refitting.with_response

    def _present(self, fitted: Fitted) -> MixedLMResultsWrapper:
        """A record of a fit as the results that users see."""
        return MixedLMResultsWrapper(MixedLMResults(fitted))

    # ---- statsmodels' likelihood, by the criterion and penalties of the last fit ----

    loglike = likelihood.loglike
    score = likelihood.score
    score_full = likelihood.score_full
    score_sqrt = likelihood.score_sqrt
    hessian = likelihood.hessian
    information = likelihood.information
    get_fe_params = likelihood.get_fe_params
    get_scale = likelihood.get_scale
    get_distribution = likelihood.get_distribution
    reml = likelihood.OfLastFit("reml")
    fe_pen = likelihood.OfLastFit("fe_pen")
    cov_pen = likelihood.OfLastFit("cov_pen")
    _freepat = likelihood.OfLastFit("free")
    _cov_sing = 0

    # ---- statsmodels' groups ----

    group_list = groups_view.group_list
    endog_li = cached_property(groups_view.endog_li)
    exog_li = cached_property(groups_view.exog_li)
    exog_re_li = cached_property(groups_view.exog_re_li)
    exog_re2_li = cached_property(groups_view.exog_re2_li)
    exog_re = property(groups_view.exog_re)
    exog_vc = cached_property(groups_view.exog_vc)
    _get_init_kwds = groups_view.init_kwds

    # ---- names of other programs ----

    if not TYPE_CHECKING:  # the annotations say what there is

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that raised: its own message
                return object.__getattribute__(self, name)
            kind = f"{type(self).__name__!r} object"
            raise no_model_attribute(kind, name, dir(type(self)), dir(MixedLMResults))


def _what_to_write(argument):
    """What stands for an argument that models do not have."""
    if argument in MODEL_ARGUMENTS:
        return f": {MODEL_ARGUMENTS[argument]}"
    known = [*signature(MixedLM.from_formula).parameters]
    known = [name for name in known if name not in ("args", "kwargs")]
    return did_you_mean(argument, known) or f"; they are: {', '.join(known)}"


def _random_part(frame, kwargs, free):
    """The random terms for the constructor: what formulas say, else what is given."""
    given = {name: kwargs.pop(name, None) for name in ("exog_re", "exog_vc", "terms")}
    terms = frame.bar_terms
    if given["terms"]:
        both = [[t.group for t in part] for part in (terms, given["terms"])]
        if terms and both[0] != both[1]:
            raise ValueError("terms= is given, and the formula has random terms in bars")
        terms = terms or list(given["terms"])
    exog = {"exog_re": given["exog_re"], "exog_vc": given["exog_vc"]}
    if free and any(value is not None for value in exog.values()):
        return {"groups": frame.groups, "terms": terms, **exog}
    return {"groups": frame.grouped, "terms": terms}


# As statsmodels.formula.api.mixedlm: the class method under a short name.
mixedlm = MixedLM.from_formula
