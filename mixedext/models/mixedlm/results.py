"""Results of a fitted mixed model: estimates with their labels, no numerics."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.regression.mixed_linear_model import (
    MixedLMParams,
)
from statsmodels.regression.mixed_linear_model import (
    MixedLMResults as UpstreamResults,
)
from statsmodels.regression.mixed_linear_model import (
    MixedLMResultsWrapper as UpstreamWrapper,
)

from mixedext.engine.fit import Fit
from mixedext.inference.bootstrap.bootstrapping import Bootstrapping
from mixedext.inference.bootstrap.refits import simulate_refits
from mixedext.inference.comparison.criteria import Criteria
from mixedext.inference.comparison.kenward_roger_tests import KenwardRogerTests
from mixedext.inference.comparison.model_comparison import ModelComparison
from mixedext.inference.comparison.term_deletion import TermDeletion
from mixedext.inference.fixed_effects.anova_tables import AnovaTables
from mixedext.inference.fixed_effects.df_methods import df_method_name
from mixedext.inference.fixed_effects.parameter_covariance import ParameterCovariance
from mixedext.inference.fixed_effects.wald import WaldTests
from mixedext.inference.means.estimated_means import EstimatedMeans
from mixedext.inference.profile.likelihood_profile import ProfileIntervals
from mixedext.inference.random_effects.modes import RandomEffects
from mixedext.inference.variances.explained_variance import ExplainedVariance
from mixedext.inference.variances.intervals import VarianceIntervals
from mixedext.inference.variances.variance_tests import VarianceTests
from mixedext.models.mixedlm.statsmodels_face.likelihood_results import LikelihoodResults
from mixedext.models.mixedlm.summary import summarize
from mixedext.specification.formula.formula_engine import series_as_frame
from mixedext.specification.terms.parameter_names import theta_names

__all__ = ["MixedLMResults", "MixedLMResultsWrapper"]

_NO_REGRESSION = (
    "a mixed model has no sums of squares of a linear regression, which anova_lm and "
    "OLSInfluence need; wald_test_terms() tests its terms, and resid, wresid and "
    "resid_pearson are its residuals"
)


class MixedLMResults(
    Criteria,
    RandomEffects,
    LikelihoodResults,
    KenwardRogerTests,
    AnovaTables,
    ModelComparison,
    TermDeletion,
    Bootstrapping,
    ExplainedVariance,
    EstimatedMeans,
    VarianceTests,
    ProfileIntervals,
    VarianceIntervals,
    WaldTests,
    ParameterCovariance,
    UpstreamResults,
):
    """Results of ``MixedLM.fit``.

    Parameters
    ----------
    model : MixedLM
        The model.
    fit : Fit
        The engine's fit.
    df_method : str, optional
        Degrees of freedom of tests on fixed effects; see ``MixedLM.fit``.

    Attributes
    ----------
    params : Series
        Fixed effects, then variance parameters divided by ``scale`` (statsmodels'
        packed layout); fixed effects that were dropped are NaN.
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

    def __init__(self, model, fit: Fit, df_method=None):
        self.engine_fit = fit
        beta = np.full(model.k_fe, np.nan)
        kept = fit.design.basis.kept
        beta[kept] = fit.coefficients
        relative = [lam @ lam.T for lam in fit.lams]
        packed = model.layout.pack(fit.design.terms, relative)
        params = np.concatenate([beta, packed])
        LikelihoodModelResults.__init__(self, model, params)
        self.fe_params = beta
        self.scale, self.theta = fit.scale, fit.theta
        self.cov_re_unscaled = model.layout.cov_re(relative)
        self.cov_re = fit.scale * self.cov_re_unscaled
        vcomp = model.layout.vcomp(fit.design.terms, relative)
        self.vcomp = fit.scale * vcomp
        self.reml, self.method = fit.reml, "REML" if fit.reml else "ML"
        self.convergence, self.converged = fit.convergence, fit.convergence.converged
        self.fe_pen = self.cov_pen = self.freepat = None
        self.use_sqrt = model.use_sqrt
        self.k_fe, self.k_re = model.k_fe, model.k_re
        self.k_re2, self.k_vc = model.k_re2, model.k_vc
        self.nobs = model.nobs
        self.df_resid = self.nobs - fit.design.basis.rank
        self.df_method = df_method_name(df_method)
        self._choose_covariance()

    @cached_property
    def params_object(self):
        """The parameters as statsmodels' MixedLMParams."""
        vcomp = self.vcomp / self.scale
        return MixedLMParams.from_components(
            self.fe_params, cov_re=self.cov_re_unscaled, vcomp=vcomp
        )

    @staticmethod
    def _wrapped(results):
        return MixedLMResultsWrapper(results)

    @cached_property
    def _quantiles(self):
        return np.quantile(self.resid_pearson, [0, 0.25, 0.5, 0.75, 1])

    @cached_property
    def group_sizes(self):
        """Rows of each level of ``groups``, or else of the first grouping factor.

        None where there is no such factor, or where the rows are in chunks.
        """
        return self.model.group_sizes

    def remove_data(self):
        """Remove what has the length of the data from the results and the model.

        A summary, the random effects and all tests stay.
        """
        if self.model.endog is not None:  # a summary needs them
            _ = self._quantiles, self.group_sizes, self.model.endog_names
        for name in ("fittedvalues", "resid"):
            vars(self).pop(name, None)
        if "groups" in self.cov_kwds:  # the covariance is there
            self.cov_kwds["groups"] = None
        self._keep_grams()
        super().remove_data()
        self.model.forget_groups()

    # ---- variance components ----

    @property
    def sigma(self):
        """Residual standard deviation."""
        return float(np.sqrt(self.scale))

    @property
    def is_singular(self):
        """Whether some variance is zero or some correlation +-1."""
        return self.engine_fit.is_singular

    @property
    def fit_log(self):
        """One row an evaluation: method, deviance, step, expected fall, theta."""
        return self.engine_fit.log

    @property
    def n_levels(self):
        """Number of levels of each grouping factor, a Series."""
        terms = self.engine_fit.design.terms
        return pd.Series({t.group: t.n_levels for t in terms}, dtype=int)

    @property
    def theta_names(self):
        """Names of the elements of theta: group, row and column."""
        return theta_names(self.engine_fit.design.terms)

    @property
    def var_corr(self):
        """Variances, standard deviations and correlations of the random effects.

        Returns
        -------
        DataFrame
            Columns group, name, variance, sd, corr (with the first effect of the term;
            corr2, corr3 ... with the second, third ..., where a term has as many).  The
            last row is the residual.
        """
        fit = self.engine_fit
        rows = []
        for term, covariance in zip(fit.design.terms, fit.covariances, strict=True):
            for effect in term.structure.report(covariance, term.names):
                row = {"group": term.group, "name": effect.name}
                row |= {"variance": effect.variance, "sd": effect.sd, "corr": np.nan}
                for b, value in enumerate(effect.correlations):
                    row["corr" if b == 0 else f"corr{b + 1}"] = value
                rows.append(row)
        residual = {"group": "Residual", "name": ""}
        rows.append(residual | {"variance": self.scale, "sd": self.sigma, "corr": np.nan})
        return pd.DataFrame(rows)

    # ---- rows ----

    @cached_property
    def fittedvalues(self):
        """Offset, fixed effects and conditional modes of the rows."""
        return self.model.linear_predictor(self.fe_params, self.engine_fit.effects)

    @cached_property
    def resid(self):
        """Response less fitted values."""
        return self.model.endog - self.fittedvalues

    @property
    def wresid(self):
        """Residuals times the square root of the weights: lme4's Pearson residuals."""
        weights = self.model.weights
        return self.resid if weights is None else np.sqrt(weights) * self.resid

    @property
    def resid_pearson(self):
        """Scaled residuals: ``wresid`` divided by sigma."""
        return self.wresid / self.sigma

    def by_chunk(self, chunks=None):
        """Fitted values and residuals of a model made by ``from_chunks``.

        Parameters
        ----------
        chunks : iterable of DataFrame, optional
            Chunks as for ``from_chunks``; those of the model if None.

        Yields
        ------
        DataFrame
            Columns ``fitted`` and ``resid``, one row for each complete row of a chunk.

        Raises
        ------
        ValueError
            If the rows of the model are in memory, or a level is new.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> formula = "Reaction ~ Days + (Days | Subject)"
        >>> model = mx.MixedLM.from_chunks(formula, [data[:100], data[100:]])
        >>> [len(frame) for frame in model.fit().by_chunk()]
        [100, 80]
        """
        return self.model.by_chunk(self.fe_params, self.engine_fit.effects, chunks)

    def predict(self, exog=None, transform=True, offset=None):
        """Population mean (random effects at zero).

        Parameters
        ----------
        exog : DataFrame or array_like, optional
            New data, passed through the formula; the rows of the fit if None.  Without a
            formula the model's columns: by name where a frame has all of their names, else
            in their order.
        transform : bool, optional
            False if ``exog`` already holds the model's columns.
        offset : array_like, optional
            Added to the mean besides the formula's own ``offset(...)`` (for the rows of
            the fit: besides all of the model's own offset).

        Returns
        -------
        Series or ndarray

        Raises
        ------
        ValueError
            If ``exog`` has another number of columns than the model.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> result.predict({"Days": [0, 10]}).round(1).tolist()
        [251.4, 356.1]
        """
        if exog is None:
            own = self.model.offset
            if own is not None and offset is not None:
                offset = own + np.asarray(offset, float)
            mean = self.model.predict(self.params, None, offset)
            return pd.Series(mean, index=self.model.data.row_labels)
        by_formula = transform and hasattr(self.model, "fixed_formula")
        if by_formula and isinstance(exog, pd.Series):
            exog = series_as_frame(exog, self.model.fixed_formula)
        index = exog.index if isinstance(exog, pd.Series | pd.DataFrame) else None
        if by_formula:
            exog, own = self.model.new_rows(exog)
            if own is not None:
                offset = own if offset is None else own + np.asarray(offset, float)
        else:
            if isinstance(exog, pd.DataFrame):
                exog = self._own_columns(exog)
            exog = np.asarray(exog, float)
            exog = exog[:, None] if exog.ndim == 1 and self.k_fe == 1 else exog
            exog = np.atleast_2d(exog)
            if exog.shape[1] != self.k_fe:
                raise ValueError(
                    f"exog has {exog.shape[1]} columns; the model has {self.k_fe}"
                )
        mean = self.model.predict(self.params, exog, offset)
        return mean if index is None else pd.Series(mean, index=index)

    def _own_columns(self, exog):
        """Columns of new data by name, if they have all names of the model's columns."""
        names = self.model.exog_names
        if exog.columns.is_unique and set(names) <= set(exog.columns):
            return exog[names]
        return exog

    def simulate_refits(self, n, rng=None, reml=None, n_threads=1):
        """Simulate responses from the fit and fit the model to each of them.

        With one grouping factor the sufficient statistics of a response are drawn, not its
        rows, so that this is fast however long the data are.

        Parameters
        ----------
        n : int
            Number of responses.
        rng : Generator or int, optional
            Source of random numbers, or a seed.
        reml : bool, optional
            Criterion of the refits; that of this fit if None.
        n_threads : int, optional
            Threads that the work is shared among.  The numbers do not depend on it.

        Returns
        -------
        Refits
            Estimates and verdicts, one row a response; ``to_frame()`` for a DataFrame.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> refits = result.simulate_refits(1000, rng=1)
        >>> len(refits), refits.n_failed
        (1000, 0)
        """
        arguments = self._held_arguments("simulate_refits")
        return simulate_refits(
            self.model, self.engine_fit, n, rng, reml, n_threads, arguments=arguments
        )

    def _not_available(self, *args, **kwargs):
        """Not available in mixedext."""
        raise NotImplementedError("mixedext has no such method of statsmodels' results")

    get_nlfun = _not_available

    @property
    def ssr(self):
        """Absent: what asks for it takes the model for a linear regression."""
        raise AttributeError(_NO_REGRESSION)

    mse_resid = ssr

    # ---- printing ----

    def summary(
        self,
        yname=None,
        xname_fe=None,
        xname_re=None,
        title=None,
        alpha=0.05,
        df_method=None,
    ):
        """Summary tables.

        Parameters
        ----------
        yname : str, optional
            Name of the response.
        xname_fe, xname_re : list of str, optional
            Names of the fixed effects, and of the variance parameters, in the order of
            ``params``.
        title : str, optional
            Title.
        alpha : float, optional
            One minus the confidence level.
        df_method : str, optional
            Method for the degrees of freedom of the fixed effects (and, for
            Kenward-Roger, their standard errors); the results' own if None.

        Returns
        -------
        Summary
            Prints as text; ``as_html`` and ``as_latex`` for the other forms.

        Raises
        ------
        ValueError
            If ``df_method`` is not known, or does not go with the fit.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> result.summary(df_method="kenward-roger").tables[1].loc["Days"].to_list()
        ['10.467', '1.546', '17', '6.771', '0.000', '7.206', '13.729']
        """
        return summarize(self, yname, xname_fe, xname_re, title, alpha, df_method)

    def _repr_html_(self):
        return self.summary().as_html()


class MixedLMResultsWrapper(UpstreamWrapper):
    """Attaches pandas labels to the results."""

    _wrap_attrs = wrap.union_dicts(
        UpstreamWrapper._wrap_attrs, {"wresid": "rows", "resid_pearson": "rows"}
    )
    _wrap_methods: ClassVar[dict] = {**UpstreamWrapper._wrap_methods}
    del _wrap_methods["conf_int"]

    def conf_int(self, *args, **kwargs):
        """Intervals of all parameters, with their names; see MixedLMResults.conf_int."""
        limits = self._results.conf_int(*args, **kwargs)
        if isinstance(limits, pd.DataFrame):  # has names of its own
            return limits
        return self._results.model.data.wrap_output(limits, "columns")

    def _repr_html_(self):
        return self._results._repr_html_()


wrap.populate_wrapper(MixedLMResultsWrapper, MixedLMResults)
