"""Results of a fitted generalized mixed model: a table of contents, one line an answer."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from statsmodels.base.model import LikelihoodModelResults, LikelihoodResultsWrapper

from mixedext.calls import answer_calls
from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics import coefficients as coefficient_plots
from mixedext.graphics import random_effects as random_effects_plots
from mixedext.graphics import search
from mixedext.inference.bootstrap import generalized_bootstrap
from mixedext.inference.comparison import (
    criteria,
    generalized_bootstrap_test,
    generalized_tests,
)
from mixedext.inference.diagnostics import (
    generalized_shares,
    overdispersion,
    simulated_residuals,
)
from mixedext.inference.fixed_effects import (
    coefficients,
    covariance_choice,
    pairwise_tests,
    parameter_covariance,
    wald,
)
from mixedext.inference.means import estimated_means
from mixedext.inference.prediction import generalized_prediction
from mixedext.inference.profile import likelihood_profile
from mixedext.inference.random_effects import by_group, modes
from mixedext.inference.random_effects import generalized_mode_errors as mode_errors
from mixedext.inference.variances import estimates, generalized_intervals
from mixedext.models.glmm import covariances, remove_data, rows, updating
from mixedext.models.glmm import summary as summary_tables
from mixedext.models.mixedlm.statsmodels_face import likelihood_results
from mixedext.other_names import ON_GENERALIZED_RESULTS, no_result
from mixedext.reporting import generalized_tables
from mixedext.reporting import matrices as labelled_matrices

__all__ = ["MixedGLMResults", "MixedGLMResultsWrapper"]


def _fit_log(results: HasFitted) -> pd.DataFrame:
    """One row an evaluation: deviance, iterations for the modes, length of the step."""
    log = results.fitted.generalized.engine.log
    return pd.DataFrame(log, columns=["deviance", "mode_iterations", "step"])


def _pearson_chi2(results: HasFitted) -> float:
    """Sum of squared Pearson residuals given the modes."""
    kept = results.fitted._of_fit
    if "pearson_chi2" in kept:
        return kept["pearson_chi2"]
    return rows.pearson_chi2(results)


@answer_calls
class MixedGLMResults(LikelihoodModelResults):
    """Results of ``MixedGLM.fit``.

    Parameters
    ----------
    fitted : Fitted
        The record of the fit, complete.

    Attributes
    ----------
    fitted : Fitted
        The record that all methods read.
    params : Series
        Fixed effects, then elements of the covariances of the random effects (in the order
        of MixedLM, in the units of the linear predictor: not divided by a scale), then the
        dispersion on its natural scale, if one was estimated; fixed effects that were
        dropped are NaN.
    fe_params, bse_fe : Series
        Fixed effects and their standard errors.
    cov_re : DataFrame
        Covariance matrix of the correlated random effects.
    vcomp : ndarray
        Variance components, in the order of ``model.layout.component_names``.
    family : Family
        Law and link.
    dispersion, dispersion_se : float
        Dispersion (phi; alpha of negative binomial responses; precision of beta ones) and
        its standard error; 1 where the family has none.
    scale : float
        phi; 1 for binomial, Poisson, negative binomial and beta responses.
    theta : ndarray
        Factors of the covariances of all terms: lower triangles by columns.
    llf, deviance : float
        Log-likelihood with all constants, and -2 times it.
    var_corr : DataFrame
        One row a random effect: group, name, variance, sd and correlations.
    convergence : Convergence
        Verdict, judged by gradient and curvature; "separated" where estimates are infinite.
    fit_log : DataFrame
        One row an evaluation.
    is_singular : bool
        Whether some variance is zero or some correlation +-1.
    n_agq, laplace : int, str
        Nodes of the quadrature (1: Laplace's approximation), and the information in its
        determinant.
    """

    def __init__(self, fitted: Fitted):
        self.fitted = fitted
        model, own, settings = fitted.model, fitted.generalized, fitted.settings
        params = parameter_covariance.packed_params(fitted)
        LikelihoodModelResults.__init__(self, model, params)
        layout, terms = model.layout, own.design.terms
        # the wrapper attaches labels to these
        self.fe_params: Any = fitted.fixed.estimate.copy()
        self.cov_re: Any = layout.cov_re(own.covariances)
        self.vcomp: Any = layout.vcomp(terms, own.covariances)
        self.scale, self.theta = own.scale, own.theta
        self.family, self.n_agq = own.family, own.engine.n_agq
        self.laplace, self.method = own.engine.laplace, "ML"
        self.convergence, self.converged = own.convergence, own.convergence.converged
        self.k_fe, self.k_re = model.k_fe, model.k_re
        self.k_re2, self.k_vc = model.k_re2, model.k_vc
        self.nobs, self.df_resid = fitted.nobs, fitted.df_resid
        self.df_model = fitted.fixed.rank - model.data.k_constant
        self.use_t = settings.use_t
        self.cov_type, self.cov_kwds = settings.cov_type, dict(settings.cov_kwds)
        if settings.df_resid_inference is not None:
            self.df_resid_inference = settings.df_resid_inference

    # ---- the fit ----

    llf = property(criteria.llf)
    deviance = property(criteria.deviance)
    n_params = property(criteria.n_params)
    aic = property(criteria.aic)
    aicc = property(criteria.aicc)
    bic = property(criteria.bic)
    fit_log = property(_fit_log)
    group_sizes = property(likelihood_results.group_sizes)
    update = updating.update
    summary = summary_tables.summary
    __repr__ = __str__ = summary_tables.brief
    _repr_html_ = summary_tables.as_html

    # ---- fixed effects ----

    bse = cached_property(parameter_covariance.bse)
    bse_fe = cached_property(parameter_covariance.bse_fe)
    cov_params = parameter_covariance.cov_params
    cov_params_default = property(parameter_covariance.cov_params)
    normalized_cov_params = parameter_covariance.NormalizedCovariance()
    tvalues = cached_property(coefficients.tvalues)
    pvalues = cached_property(coefficients.pvalues)
    conf_int = wald.conf_int
    fixed_effects_inference = coefficients.fixed_effects_inference
    df_description = covariance_choice.df_description
    t_test = wald.t_test
    f_test = wald.f_test
    wald_test = wald.wald_test
    wald_test_terms = wald.wald_test_terms
    t_test_pairwise = pairwise_tests.t_test_pairwise
    get_robustcov_results = covariances.get_robustcov_results

    # ---- means ----

    reference_grid = property(estimated_means.reference_grid)
    emmeans = estimated_means.emmeans
    emtrends = estimated_means.emtrends
    joint_tests = estimated_means.joint_tests

    # ---- comparison with other models ----

    compare_lr_test = generalized_tests.generalized_lr_test
    drop1 = generalized_tests.generalized_drop1
    ranova = generalized_tests.generalized_ranova

    # ---- variances ----

    is_singular = property(estimates.is_singular)
    theta_names = property(estimates.theta_names)
    var_corr = property(estimates.var_corr)
    bse_re = cached_property(parameter_covariance.bse_re)

    @property
    def dispersion(self) -> float:
        """The dispersion on its natural scale; 1 where the family has none."""
        return self.fitted.generalized.dispersion

    @property
    def dispersion_se(self) -> float:
        """Standard error of the dispersion; NaN where none was estimated."""
        return self.fitted.generalized.dispersion_se

    cov_vcomp = property(generalized_intervals.generalized_cov_vcomp)
    conf_int_vcomp = generalized_intervals.generalized_conf_int_vcomp
    profile = likelihood_profile.profile
    r2_nakagawa = generalized_shares.generalized_r2
    icc = generalized_shares.generalized_icc

    # ---- random effects ----

    n_levels = property(modes.n_levels)
    ranef = modes.ranef
    ranef_cov = mode_errors.ranef_cov
    reliability = mode_errors.reliability
    coef = modes.coef
    random_effects = cached_property(by_group.random_effects)
    random_effects_cov = cached_property(mode_errors.random_effects_cov)

    # ---- rows ----

    fittedvalues = cached_property(rows.fittedvalues)
    predict = generalized_prediction.predict
    get_prediction = generalized_prediction.get_prediction
    resid_response = cached_property(rows.resid_response)
    resid_pearson = cached_property(rows.resid_pearson)
    resid_working = cached_property(rows.resid_working)
    resid_deviance = cached_property(rows.resid_deviance)
    residuals = rows.residuals
    pearson_chi2 = property(_pearson_chi2)

    @property
    def mu(self) -> np.ndarray:
        """Means of the rows given the conditional modes, as ``fittedvalues``."""
        return self.fittedvalues

    overdispersion = overdispersion.overdispersion
    simulated_residuals = simulated_residuals.simulated_residuals

    # ---- simulation ----

    simulate = rows.simulate
    bootstrap_parametric = generalized_bootstrap.generalized_bootstrap
    bootstrap_test = generalized_bootstrap_test.generalized_bootstrap_test

    # ---- reporting ----

    tidy = generalized_tables.tidy
    glance = generalized_tables.glance
    augment = rows.augment
    G = labelled_matrices.G
    L = labelled_matrices.L

    # ---- plots ----

    plot_random_effects = random_effects_plots.plot_random_effects
    plot_qq_random = random_effects_plots.plot_qq_random
    plot_forest = coefficient_plots.plot_forest
    plot_fit_log = search.plot_fit_log

    # ---- names of other programs ----

    if not TYPE_CHECKING:  # the annotations say what there is

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that raised: its own message
                return object.__getattribute__(self, name)
            kind, known = f"{type(self).__name__!r} object", dir(type(self))
            raise no_result(kind, name, known, ON_GENERALIZED_RESULTS)

    remove_data = remove_data.remove_data


if TYPE_CHECKING:

    class MixedGLMResultsWrapper(MixedGLMResults):
        """As an editor sees the wrapper: all that the results have."""

        _results: MixedGLMResults

        def __init__(self, results: MixedGLMResults): ...

else:

    class MixedGLMResultsWrapper(LikelihoodResultsWrapper):
        """Attaches pandas labels to the results."""

        _attrs: ClassVar[dict] = {
            "bse_re": ("generic_columns", "exog_re_names_full"),
            "fe_params": ("generic_columns", "xnames"),
            "bse_fe": ("generic_columns", "xnames"),
            "cov_re": ("generic_columns_2d", "exog_re_names"),
            "fittedvalues": "rows",
            "mu": "rows",
            "resid_response": "rows",
            "resid_pearson": "rows",
            "resid_working": "rows",
            "resid_deviance": "rows",
        }
        _wrap_attrs = wrap.union_dicts(LikelihoodResultsWrapper._wrap_attrs, _attrs)
        _wrap_methods: ClassVar[dict] = {**LikelihoodResultsWrapper._wrap_methods}
        del _wrap_methods["conf_int"]

        def conf_int(
            self, alpha: float = 0.05, *args: Any, level: float | None = None, **kwargs: Any
        ) -> Any:
            """Intervals of all parameters, with their names; see MixedGLMResults."""
            limits = self._results.conf_int(alpha, *args, level=level, **kwargs)
            if isinstance(limits, pd.DataFrame):  # has names of its own
                return limits
            return self._results.model.data.wrap_output(limits, "columns")

        __repr__ = __str__ = summary_tables.brief_of_wrapper

        def _repr_html_(self) -> str:
            return self._results._repr_html_()

    wrap.populate_wrapper(MixedGLMResultsWrapper, MixedGLMResults)
