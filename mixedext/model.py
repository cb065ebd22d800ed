"""MixedLM: statsmodels' linear mixed model on mixedext's engine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from statsmodels.base.model import LikelihoodModel
from statsmodels.regression.mixed_linear_model import MixedLM as UpstreamMixedLM
from statsmodels.regression.mixed_linear_model import VCSpec
from statsmodels.tools.sm_exceptions import ConvergenceWarning, SingularMatrixWarning

from mixedext.chunk_rows import ChunkedRows
from mixedext.engine.design import prepare_design
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.refinement import needs_refinement, precision_of, refine_fit
from mixedext.exceptions import (
    DesignError,
    FlatLikelihoodWarning,
    PrecisionWarning,
    RankDeficientWarning,
    user_stacklevel,
)
from mixedext.fit_arguments import check_fit_arguments
from mixedext.refitting import Refitting
from mixedext.results import MixedLMResults, MixedLMResultsWrapper
from mixedext.specification.arrays import array_frame
from mixedext.specification.formula import model_frame
from mixedext.specification.formula_engine import fixed_spec, new_fixed_columns
from mixedext.specification.model_data import model_data
from mixedext.specification.namespace import (
    caller_namespace,
    portable_namespace,
    restored_namespace,
)
from mixedext.specification.params import ParameterLayout
from mixedext.specification.statsmodels_compat import SPEC_ATTRIBUTE
from mixedext.specification.terms import (
    RandomTerm,
    check_group_names,
    check_terms,
)
from mixedext.upstream import UpstreamView

__all__ = ["MixedLM", "mixedlm"]

# Residuals this much smaller than the response leave no residual variance.
_NO_RESIDUAL = 1e-11
_NO_VARIANCE = (
    "the random effects explain the response (endog) exactly: the residual variance is "
    "zero and the likelihood has no maximum. Leave out a term."
)
# Relative disagreement of the residual sum of squares with the rows that is worth a word.
_IMPRECISION = 1e-6
_IMPRECISE = (
    "The penalized residual sum of squares from the cross-products differs from that of "
    "the rows by a relative {:.1e}: digits were lost, because the columns differ greatly "
    "in size or one variance dwarfs the other. Centre or rescale the columns of the random "
    "effects."
)
_UNREFINED = (
    "One variance dwarfs the other, so that the sums over the chunks have lost digits; "
    "with the rows in memory they would be taken once more. Centre or rescale the columns."
)
_SINGULAR = (
    "The random effects covariance matrix is singular: some variance is estimated as "
    "zero or some correlation as +-1. The fit is a valid result (see is_singular and "
    "var_corr)."
)


class MixedLM(Refitting, ChunkedRows, UpstreamView, UpstreamMixedLM):
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
        Not supported: say the same model by ``terms`` or by a formula.
    use_sqrt : bool, optional
        Kept for statsmodels; the engine always works with the root of the covariance.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error ("none", "raise") or are left out.
    terms : list of RandomTerm, optional
        Random terms; may be used with or without ``groups``.  With neither the model
        is an ordinary linear model, fitted by ML or REML all the same.
    weights : array_like, optional
        Precision weights w, positive: the residual variance of a row is sigma^2 / w.
    offset : array_like, optional
        Known part of the mean, in the units of the response.
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

    def __init__(
        self,
        endog,
        exog=None,
        groups=None,
        exog_re=None,
        exog_vc=None,
        use_sqrt=True,
        missing="none",
        *,
        terms=None,
        weights=None,
        offset=None,
        **kwargs,
    ):
        unknown = sorted(set(kwargs) - {"formula", SPEC_ATTRIBUTE, "hasconst"})
        if unknown:
            raise ValueError(
                f"argument {unknown[0]} not permitted for MixedLM initialization"
            )
        if exog_vc is not None and (isinstance(exog_vc, dict) or exog_vc.names):
            raise NotImplementedError(
                "exog_vc is not supported; give variance components as "
                "terms=[RandomTerm(codes, z, structure='identity'), ...]"
            )
        frame = array_frame(endog, exog, groups, exog_re, terms, weights, offset, missing)
        check_group_names(frame.terms)
        check_terms(frame.terms, frame.nobs)
        kwargs["exog_extremes"] = frame.exog_extremes
        self._settle(frame, frame.nobs, 0 if groups is not None else None, kwargs)
        self.use_sqrt = use_sqrt
        self._design = prepare_design(
            self._response(),
            self.exog,
            self.random_terms,
            self.weights,
        )
        self._warn_dropped()

    def _settle(self, frame, nobs, main_term, kwargs):
        """Set the attributes that statsmodels' models have."""
        # statsmodels' own constructor loops over rows and builds arrays by group.
        LikelihoodModel.__init__(self, frame.endog, frame.exog, **kwargs)
        if self.exog is None:
            self.exog = np.zeros((len(self.endog), 0))
            self.data.xnames = []
        self.reml = True
        self.fe_pen = self.cov_pen = None
        self.groups, self.exog_re = frame.groups, frame.exog_re
        self.exog_vc = VCSpec([], [], [])
        self.random_terms = frame.terms
        self.weights, self.offset = frame.weights, frame.offset
        self.nobs = self.n_totobs = nobs
        self.namespace, self.offset_formulas = {}, ()
        self.main_term, self.components = main_term, ()
        self.aliases = {}
        self._init_keys = ["use_sqrt", "terms", "weights", "offset"]
        self._data_attr.extend(
            ["random_terms", "weights", "offset", "groups", "exog_re", "data.frame"]
        )
        self._name_parameters()

    def _handle_data(self, endog, exog, missing, hasconst, **kwargs):
        return model_data(endog, exog, hasconst, **kwargs)

    @property
    def terms(self) -> list[RandomTerm]:
        """The random terms, in the order given."""
        return self.random_terms

    def _name_parameters(self):
        layout = ParameterLayout.of(self.random_terms, self.main_term, self.components)
        self.layout = layout
        self.k_fe, self.k_re = self.exog.shape[1], len(layout.re_names)
        self.k_re2, self.k_vc = len(layout.covariance_names), len(layout.components)
        self.k_params = self.k_fe + self.k_re2
        self.data.param_names = list(self.data.xnames or []) + layout.names
        self.data.exog_re_names = list(layout.re_names)
        self.data.exog_re_names_full = layout.names

    @property
    def dropped_columns(self) -> list[str]:
        """Fixed-effects columns left out because they depend on earlier ones."""
        kept = set(self._design.basis.kept)
        return [name for j, name in enumerate(self.exog_names) if j not in kept]

    @property
    def exog_names(self):
        """Names of the fixed-effects columns."""
        return list(self.data.xnames or [])

    def _warn_dropped(self):
        if self._design.basis.rank < self.k_fe:
            count = len(self.dropped_columns)
            warnings.warn(
                f"{count} column{'s' if count > 1 else ''} of exog depend"
                f"{'' if count > 1 else 's'} on earlier ones and get"
                f"{'' if count > 1 else 's'} no coefficient: "
                f"{', '.join(self.dropped_columns)}",
                RankDeficientWarning,
                stacklevel=user_stacklevel(),
            )

    @classmethod
    def from_formula(
        cls,
        formula,
        data,
        re_formula=None,
        vc_formula=None,
        subset=None,
        use_sparse=False,
        missing="none",
        *args,
        groups=None,
        weights=None,
        offset=None,
        eval_env=None,
        **kwargs,
    ):
        """Model from a formula and a data frame.

        Parameters
        ----------
        formula : str
            Fixed effects, random terms in lme4's notation such as ``(1 + x | g)``,
            ``(x || g)``, ``(1 | a/b)``, and ``offset(...)``.
        data : DataFrame
            The data.
        re_formula : str, optional
            Columns with random coefficients by ``groups``, as in statsmodels.
        vc_formula : dict, optional
            Variance components within ``groups``, as in statsmodels: name to formula.
        subset : array_like, optional
            Rows of ``data`` to use, for ``data.loc``.
        use_sparse : bool, optional
            Kept for statsmodels; storage is chosen by the engine.
        missing : {"none", "raise", "drop"}, optional
            Rows with missing values are an error ("none", "raise") or are left out.
        groups : str or array_like, optional
            Grouping factor of ``re_formula`` and ``vc_formula``.
        weights, offset : str or array_like, optional
            Column of ``data``, or one value a row.
        eval_env : int or Mapping, optional
            Where names that are no columns are looked up: levels up the stack, or a
            mapping; -1 for nowhere.

        Returns
        -------
        MixedLM

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
        if not isinstance(re_formula, str | None):
            raise ValueError(f"re_formula must be a string, not {re_formula!r}")
        if not isinstance(vc_formula, Mapping | None):
            raise ValueError(f"vc_formula must map names to formulas, not {vc_formula!r}")
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
            subset=subset,
            missing=missing,
        )
        model = cls(
            frame.endog,
            frame.exog if frame.exog.shape[1] else None,
            *args,
            terms=frame.terms,
            weights=frame.weights,
            offset=frame.offset,
            formula=formula,
            **{SPEC_ATTRIBUTE: frame.model_spec},
            **kwargs,
        )
        model.data.frame = frame.data
        model._remember_formula(formula, frame)
        return model

    def _remember_formula(self, formula, frame):
        self.formula = formula
        self.fixed_formula = frame.fixed_formula
        self.namespace = frame.namespace
        self.offset_formulas = frame.offset_formulas
        self.aliases = frame.aliases
        if frame.groups is not None:
            self.groups, self.components = frame.groups, frame.components
            self.main_term = None if 0 in frame.components else 0
            self._name_parameters()

    # ---- fitting ----

    def fit(
        self,
        start_params=None,
        reml=True,
        niter_sa=0,
        do_cg=True,
        fe_pen=None,
        cov_pen=None,
        free=None,
        full_output=False,
        method=None,
        *,
        df_method=None,
        **fit_kwargs,
    ):
        """Fit by restricted or ordinary maximum likelihood.

        Parameters
        ----------
        start_params : array_like, optional
            Starting relative covariance factors: theta of all terms in lme4's order (the
            lower triangle of each by columns), shape (n_theta,).
        reml : bool, optional
            REML (True) or ML.
        niter_sa : int, optional
            Kept for statsmodels; has no effect.
        do_cg : bool, optional
            If False, nothing is optimized: the results are those at the start.
        fe_pen, cov_pen, free
            Penalties and masks of statsmodels; not supported.
        full_output : bool, optional
            Kept for statsmodels; ``fit_log`` is always there.
        method : str or list of str, optional
            Kept for statsmodels: whatever the name, the engine's trust-region Newton
            is used.
        df_method : {None, "residual"}, optional
            Degrees of freedom of tests on fixed effects: None for z, "residual" for
            t with n - rank(X).
        **fit_kwargs
            ``maxiter``: Newton iterations; other optimizer options are accepted and
            ignored.

        Returns
        -------
        MixedLMResultsWrapper

        Warns
        -----
        SingularMatrixWarning
            If some variance is zero or some correlation +-1; a legitimate result.
        ConvergenceWarning
            If neither Newton nor the fallback ends at a minimum.
        FlatLikelihoodWarning
            If the data do not determine all variances and covariances.
        PrecisionWarning
            If the cross-products have lost digits.
        """
        if not self.has_rows and self.source is None:
            self._need_rows()
        penalties = {"fe_pen": fe_pen, "cov_pen": cov_pen, "free": free}
        check_fit_arguments(reml, penalties, method, df_method, fit_kwargs)
        start = (
            None
            if start_params is None
            else self._check_theta(start_params, "start_params")
        )
        self.reml = bool(reml)
        within = self._design.blocks.within
        if within is not None and within.explained:
            raise DesignError(_NO_VARIANCE)
        if do_cg:
            fit = fit_design(
                self._design, self.reml, start, max_iterations=fit_kwargs.get("maxiter")
            )
        else:
            fit = evaluate_design(self._design, self.reml, start)
        lost = needs_refinement(fit)
        if lost and not self.has_rows:
            warnings.warn(_UNREFINED, PrecisionWarning, stacklevel=2)
            lost = False
        if lost:
            fit = refine_fit(
                fit, self._response(), self.exog, self.random_terms, self.weights
            )
        results = MixedLMResults(self, fit, df_method=df_method)
        if lost:  # only then can the sums have gone wrong, or nothing be left of y
            self._check_residual(results.wresid)
            error = precision_of(fit, results.resid, self.weights)
            if error > _IMPRECISION:
                warnings.warn(_IMPRECISE.format(error), PrecisionWarning, stacklevel=2)
        if do_cg:
            if not fit.convergence.converged:
                warnings.warn(
                    f"MixedLM did not converge: {fit.convergence.message}",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            elif fit.is_singular:
                warnings.warn(_SINGULAR, SingularMatrixWarning, stacklevel=2)
            elif fit.convergence.status == "flat":
                warnings.warn(fit.convergence.message, FlatLikelihoodWarning, stacklevel=2)
        return MixedLMResultsWrapper(results)

    def _response(self):
        return self.endog if self.offset is None else self.endog - self.offset

    def _check_residual(self, residual):
        size = np.sqrt(np.mean(residual**2))
        if self.random_terms and size < _NO_RESIDUAL * self._design.y_scale:
            raise DesignError(_NO_VARIANCE)

    def _check_theta(self, values, what):
        n_theta = sum(s.n_theta for s in self._design.structures)
        theta = np.asarray(values, float)
        if theta.shape != (n_theta,) or not np.isfinite(theta).all():
            raise ValueError(
                f"{what} must hold {n_theta} finite numbers, the theta of all random "
                f"terms; got shape {theta.shape}"
            )
        return theta

    def objective(self, theta, reml=True):
        """Profiled deviance and its gradient at any theta.

        Parameters
        ----------
        theta : array_like
            Relative covariance factors of all terms, shape (n_theta,).
        reml : bool, optional
            Restricted or ordinary deviance.

        Returns
        -------
        deviance : float
            -2 (restricted) log-likelihood, maximized over beta and sigma.
        gradient : ndarray
            Its derivative in theta.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> deviance, gradient = model.objective([1.0])
        >>> round(deviance, 4), gradient.shape
        (319.7924, (1,))
        """
        if not isinstance(reml, bool | np.bool_):
            raise ValueError(f"reml={reml!r}; use True (REML) or False (ML)")
        theta = self._check_theta(theta, "theta")
        objective = self._design.objective(reml)
        inner = self._design.inner_theta(theta)
        deviance = objective.value(inner)
        if not np.isfinite(deviance):  # rounding has made the factorization fail
            return float("inf"), np.full(len(inner), np.nan)
        deviance += self._design.deviance_shift(reml, objective.dof)
        if not len(inner):
            return float(deviance), inner
        scores = objective.derivatives(inner).scores
        return float(deviance), self._design.gradient(scores, theta)

    def describe_blocks(self) -> str:
        """The block structure that a fit works on, and its memory, as text."""
        return self._design.blocks.describe()

    # ---- rows ----

    def linear_predictor(self, coefficients, effects=None):
        """Mean of the rows: offset, fixed effects and, if given, random effects.

        Parameters
        ----------
        coefficients : ndarray
            Fixed effects; NaN counts as 0 (dropped columns).
        effects : list of ndarray, optional
            Random effects of every term, (L, k).
        """
        self._need_rows()
        mean = self.exog @ np.nan_to_num(np.asarray(coefficients, float))
        if self.offset is not None:
            mean = mean + self.offset
        if effects is not None:
            for term, effect in zip(self.random_terms, effects, strict=True):
                for j, column in enumerate(term.columns):
                    own = effect[:, j][term.codes]
                    mean += own if column is None else own * column
        return mean

    def predict(self, params, exog=None, offset=None):
        """Population mean for rows of fixed-effects columns.

        Parameters
        ----------
        params : array_like or MixedLMParams
            Fixed effects, possibly followed by variance parameters.
        exog : array_like, optional
            Columns as in the model; the model's own rows if None.
        offset : array_like, optional
            Added to the mean; the model's own for its own rows.

        Returns
        -------
        ndarray
        """
        beta = getattr(params, "fe_params", params)
        beta = np.nan_to_num(np.asarray(beta, float)[: self.k_fe])
        if exog is None:
            self._need_rows()
            exog, offset = self.exog, self.offset if offset is None else offset
        mean = np.asarray(exog, float) @ beta
        return mean if offset is None else mean + np.asarray(offset, float)

    def new_rows(self, data):
        """Fixed-effects columns and formula offset for new data."""
        spec = getattr(self.data, SPEC_ATTRIBUTE)
        return new_fixed_columns(
            spec,
            data,
            self.fixed_formula,
            self.namespace,
            self.aliases,
            self.offset_formulas,
        )

    def _get_init_kwds(self):
        return {key: getattr(self, key) for key in self._init_keys}

    # ---- pickling ----

    def __getstate__(self):
        state = dict(self.__dict__)
        state["namespace"] = portable_namespace(self.namespace)
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.namespace = restored_namespace(self.namespace)
        frame = getattr(self.data, "frame", None)
        if getattr(self.data, "has_spec", False):
            return  # it will be made when it is needed
        # Patsy's specification cannot be pickled: it is made again from the formula.
        if frame is not None and getattr(self, "fixed_formula", None) is not None:
            spec = fixed_spec(self.fixed_formula, frame, self.namespace, self.aliases)
            setattr(self.data, SPEC_ATTRIBUTE, spec)


# As statsmodels.formula.api.mixedlm: the class method under a short name.
mixedlm = MixedLM.from_formula
