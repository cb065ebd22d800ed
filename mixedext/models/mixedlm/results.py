"""Results of a fitted mixed model: a table of contents, one line an answer.

Every method is a function of the file that answers the question; it takes the results
first and reads their record, ``fitted``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import statsmodels.base.wrapper as wrap
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.regression.mixed_linear_model import (
    MixedLMResults as UpstreamResults,
)
from statsmodels.regression.mixed_linear_model import (
    MixedLMResultsWrapper as UpstreamWrapper,
)

from mixedext.calls import answer_calls
from mixedext.fitted import Fitted
from mixedext.graphics import (
    check_page,
    fitted_lines,
    influence_plots,
    matrices,
    observed,
    quantiles,
    residual_plots,
    search,
    serial,
    variance_shares,
    visit_correlation,
)
from mixedext.graphics import coefficients as coefficient_plots
from mixedext.graphics import effects as effect_plots
from mixedext.graphics import random_effects as random_effects_plots
from mixedext.inference.bootstrap import bootstrap_tests, bootstrapping
from mixedext.inference.comparison import (
    criteria,
    drop_terms,
    kenward_roger_tests,
    model_comparison,
)
from mixedext.inference.diagnostics import influence, residuals
from mixedext.inference.fixed_effects import (
    anova_tables,
    coefficients,
    covariance_choice,
    pairwise_tests,
    parameter_covariance,
    wald,
)
from mixedext.inference.means import estimated_means
from mixedext.inference.prediction import mixed_prediction, new_modes, predictions
from mixedext.inference.profile import likelihood_profile
from mixedext.inference.random_effects import by_group, mode_errors, modes
from mixedext.inference.variances import (
    estimates,
    icc_and_r2,
    intervals,
    residual_covariance,
    variance_tests,
)
from mixedext.models.mixedlm import brief, from_chunks, remove_data, updating
from mixedext.models.mixedlm import summary as summary_tables
from mixedext.models.mixedlm.statsmodels_face import (
    likelihood_results,
    summary_columns,  # noqa: F401 (statsmodels' summary_col takes these results)
)
from mixedext.other_names import no_result
from mixedext.reporting import equations, pages, tidy_tables
from mixedext.reporting import matrices as labelled_matrices

__all__ = ["MixedLMResults", "MixedLMResultsWrapper"]


@answer_calls
class MixedLMResults(UpstreamResults):
    """Results of ``MixedLM.fit``.

    Parameters
    ----------
    fitted : Fitted
        The record of the fit, complete.

    Attributes
    ----------
    fitted : Fitted
        The record that all methods read.
    params : Series
        Fixed effects, then variance parameters divided by ``scale`` (statsmodels'
        packed layout), then those of a residual covariance on their natural scale; fixed
        effects that were dropped are NaN.
    fe_params, bse_fe : Series
        Fixed effects and their standard errors.
    cov_re : DataFrame
        Covariance matrix of the correlated random effects.
    vcomp : ndarray
        Variance components, in the order of ``model.layout.component_names``.
    scale, sigma : float
        Residual variance and standard deviation.
    theta : ndarray
        Relative covariance factors of all terms: lower triangles by columns, as lme4.
    llf, deviance : float
        (Restricted) log-likelihood with all constants, and -2 times it.
    var_corr : DataFrame
        One row a random effect and one for the residual: group, name, variance, sd and
        correlations with the rows before it in the same term.
    convergence : Convergence
        Verdict, judged by gradient and curvature.
    fit_log : DataFrame
        One row an evaluation.
    is_singular : bool
        Whether some variance is zero or some correlation +-1.
    """

    def __init__(self, fitted: Fitted):
        self.fitted = fitted
        model, fit, settings = fitted.model, fitted.fit, fitted.settings
        terms, layout, scale = fit.design.terms, model.layout, fit.scale
        relative = [lam @ lam.T for lam in fit.lams]
        params = parameter_covariance.packed_params(fitted)
        LikelihoodModelResults.__init__(self, model, params)
        # the wrapper attaches labels to these
        self.fe_params: Any = fitted.fixed.estimate.copy()
        self.scale, self.theta = scale, fit.theta
        self.cov_re_unscaled = layout.cov_re(relative)
        self.cov_re: Any = scale * self.cov_re_unscaled
        packed = params[model.k_fe :][: layout.n_packed]
        if layout.components:
            packed = layout.scaled(packed, scale)
        self.vcomp: Any = packed[layout.n_covariances :].copy()
        if fit.held is not None and fit.held.covariances is not None:
            self.cov_re = layout.cov_re(fit.held.covariances)
            self.vcomp = layout.vcomp(terms, fit.held.covariances)
        self.reml, self.method = fit.reml, "REML" if fit.reml else "ML"
        self.convergence, self.converged = fit.convergence, fit.convergence.converged
        arguments = fitted.arguments
        self.fe_pen, self.cov_pen = arguments.fe_pen, arguments.cov_pen
        self.freepat = arguments.free
        self.use_sqrt = model.use_sqrt
        self.k_fe, self.k_re = model.k_fe, model.k_re
        self.k_re2, self.k_vc = model.k_re2, model.k_vc
        self.nobs, self.df_resid = fitted.nobs, fitted.df_resid
        self.df_method, self.use_t = settings.df_method, settings.use_t
        self.cov_type, self.cov_kwds = settings.cov_type, dict(settings.cov_kwds)
        if settings.df_resid_inference is not None:
            self.df_resid_inference = settings.df_resid_inference

    # ---- the fit ----

    llf = property(criteria.llf)
    deviance = property(criteria.deviance)
    n_params = property(criteria.n_params)
    has_criteria = property(criteria.has_criteria)
    aic = property(criteria.aic)
    aicc = property(criteria.aicc)
    bic = property(criteria.bic)
    fit_log = property(likelihood_results.fit_log)
    group_sizes = property(likelihood_results.group_sizes)
    update = updating.update
    summary = summary_tables.summary
    __repr__ = __str__ = brief.brief
    _repr_html_ = summary_tables.as_html

    # ---- fixed effects ----

    bse = cached_property(parameter_covariance.bse)
    bse_fe = cached_property(parameter_covariance.bse_fe)
    cov_params = parameter_covariance.cov_params
    cov_params_default = property(parameter_covariance.cov_params)
    cov_params_kr = property(kenward_roger_tests.cov_params_kr)
    normalized_cov_params = parameter_covariance.NormalizedCovariance()
    tvalues = cached_property(coefficients.tvalues)
    pvalues = cached_property(coefficients.pvalues)
    conf_int = wald.conf_int
    fixed_effects_inference = coefficients.fixed_effects_inference
    df_description = covariance_choice.df_description
    df_held = coefficients.df_held
    t_test = wald.t_test
    f_test = wald.f_test
    wald_test = wald.wald_test
    wald_test_terms = wald.wald_test_terms
    t_test_pairwise = pairwise_tests.t_test_pairwise
    anova = anova_tables.anova
    kenward_roger = kenward_roger_tests.kenward_roger
    get_robustcov_results = covariance_choice.get_robustcov_results

    # ---- means ----

    reference_grid = property(estimated_means.reference_grid)
    emmeans = estimated_means.emmeans
    emtrends = estimated_means.emtrends
    joint_tests = estimated_means.joint_tests

    # ---- comparison with other models ----

    compare_lr_test = model_comparison.compare_lr_test
    compare_kr_test = model_comparison.compare_kr_test
    compare_satterthwaite_test = model_comparison.compare_satterthwaite_test
    drop1 = drop_terms.drop1
    ranova = drop_terms.ranova
    step = drop_terms.step

    # ---- variances ----

    sigma = property(estimates.sigma)
    is_singular = property(estimates.is_singular)
    theta_names = property(estimates.theta_names)
    var_corr = property(estimates.var_corr)
    residual = property(residual_covariance.residual)
    marginal_cov = residual_covariance.marginal_cov
    bse_re = cached_property(parameter_covariance.bse_re)
    bse_scale = property(parameter_covariance.bse_scale)
    cov_vcomp = property(intervals.cov_vcomp)
    conf_int_vcomp = intervals.conf_int_vcomp
    exact_rlrt = variance_tests.exact_rlrt
    icc = icc_and_r2.icc
    r2_nakagawa = property(icc_and_r2.r2_nakagawa)
    profile = likelihood_profile.profile

    # ---- random effects ----

    n_levels = property(modes.n_levels)
    ranef = modes.ranef
    ranef_cov = mode_errors.ranef_cov
    reliability = mode_errors.reliability
    coef = modes.coef
    coef_cov = mode_errors.coef_cov
    ranef_new = new_modes.ranef_new
    random_effects = cached_property(by_group.random_effects)
    random_effects_cov = cached_property(by_group.random_effects_cov)

    # ---- rows ----

    fittedvalues = cached_property(predictions.fittedvalues)
    predict = predictions.predict
    get_prediction = mixed_prediction.get_prediction
    resid = cached_property(residuals.resid)
    wresid = property(residuals.wresid)
    resid_pearson = property(residuals.resid_pearson)
    resid_normalized = property(residuals.resid_normalized)
    residuals = residuals.residuals
    get_influence = influence.get_influence
    by_chunk = from_chunks.by_chunk

    # ---- simulation ----

    simulate = bootstrapping.simulate
    simulate_refits = bootstrapping.simulate_refits
    bootstrap_parametric = bootstrapping.bootstrap_parametric
    bootstrap_residual = bootstrapping.bootstrap_residual
    bootstrap_cases = bootstrapping.bootstrap_cases
    bootstrap_test = bootstrap_tests.bootstrap_test

    # ---- reporting ----

    tidy = tidy_tables.tidy
    glance = tidy_tables.glance
    augment = tidy_tables.augment
    equation = equations.equation
    report = pages.report
    G = labelled_matrices.G
    R = labelled_matrices.R
    V = labelled_matrices.V
    L = labelled_matrices.L

    # ---- plots ----

    plot_random_effects = random_effects_plots.plot_random_effects
    plot_shrinkage = random_effects_plots.plot_shrinkage
    plot_qq_random = random_effects_plots.plot_qq_random
    plot_fitted = fitted_lines.plot_fitted
    plot_forest = coefficient_plots.plot_forest
    plot_effect = effect_plots.plot_effect
    plot_qq = quantiles.plot_qq
    plot_residuals = residual_plots.plot_residuals
    plot_scale_location = residual_plots.plot_scale_location
    plot_observed = observed.plot_observed
    plot_influence = influence_plots.plot_influence
    plot_index = influence_plots.plot_index
    plot_matrix = matrices.plot_matrix
    plot_variance_shares = variance_shares.plot_variance_shares
    acf = serial.acf_data
    variogram = serial.variogram_data
    plot_acf = serial.plot_acf
    plot_variogram = serial.plot_variogram
    plot_residual_cov = visit_correlation.plot_residual_cov
    plot_deviance = search.plot_deviance
    plot_fit_log = search.plot_fit_log
    check_model = check_page.check_model

    # ---- names of other programs ----

    if not TYPE_CHECKING:  # the annotations say what there is

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that raised: its own message
                return object.__getattribute__(self, name)
            raise no_result(f"{type(self).__name__!r} object", name, dir(type(self)))

    # ---- statsmodels' own ----

    params_object = cached_property(likelihood_results.params_object)
    mle_settings = property(likelihood_results.mle_settings)
    mle_retvals = property(likelihood_results.mle_retvals)
    hist = property(likelihood_results.hist)
    profile_re = likelihood_results.profile_re
    bootstrap = likelihood_results.bootstrap
    get_nlfun = likelihood_results.get_nlfun
    ssr = property(likelihood_results.ssr)
    mse_resid = property(likelihood_results.mse_resid)
    remove_data = remove_data.remove_data


if TYPE_CHECKING:

    class MixedLMResultsWrapper(MixedLMResults):
        """As an editor sees the wrapper: all that the results have."""

        _results: MixedLMResults

        def __init__(self, results: MixedLMResults): ...

else:

    class MixedLMResultsWrapper(UpstreamWrapper):
        """Attaches pandas labels to the results."""

        _wrap_attrs = wrap.union_dicts(
            UpstreamWrapper._wrap_attrs,
            {"wresid": "rows", "resid_pearson": "rows", "resid_normalized": "rows"},
        )
        _wrap_methods: ClassVar[dict] = {**UpstreamWrapper._wrap_methods}
        del _wrap_methods["conf_int"]

        def conf_int(
            self, alpha: float = 0.05, *args: Any, level: float | None = None, **kwargs: Any
        ) -> Any:
            """Intervals of all parameters, with their names; see MixedLMResults."""
            limits = self._results.conf_int(alpha, *args, level=level, **kwargs)
            if isinstance(limits, pd.DataFrame):  # has names of its own
                return limits
            return self._results.model.data.wrap_output(limits, "columns")

        __repr__ = __str__ = brief.brief_of_wrapper

        def _repr_html_(self) -> str:
            return self._results._repr_html_()

    wrap.populate_wrapper(MixedLMResultsWrapper, MixedLMResults)
