"""The covariance of the parameters: by the model, its whole Hessian, or by clusters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from statsmodels.tools.tools import nan_dot

from mixedext.engine.information.observed import variance_covariance
from mixedext.exceptions import ClusterWarning, user_stacklevel
from mixedext.inference.fixed_effects.clusters import cluster_codes
from mixedext.inference.fixed_effects.df_methods import (
    FixedTests,
    df_method_name,
    fixed_tests,
)
from mixedext.inference.fixed_effects.robust import (
    CovarianceTests,
    cluster_covariance,
    two_way_covariance,
)
from mixedext.inference.variances.observed_covariance import (
    fixed_covariance,
    observed_covariance,
)

__all__ = ["ParameterCovariance", "covariance_name"]

# Names in lower case to estimators.
_COVARIANCES = {
    "nonrobust": "nonrobust",
    "gls": "nonrobust",
    "oim": "oim",
    "cluster": "CR1",
    "cr0": "CR0",
    "cr1": "CR1",
    "cr2": "CR2",
    "cr3": "CR3",
}
_DESCRIPTIONS = {
    "nonrobust": "Generalized least squares: the covariance of the model.",
    "oim": "Inverse of the observed information about all parameters but the scale.",
    "CR0": "Robust to cluster correlation (CR0).",
    "CR1": "Robust to cluster correlation (CR1).",
    "CR2": "Robust to cluster correlation (CR2), with Bell-McCaffrey df.",
    "CR3": "Robust to cluster correlation (CR3), with Bell-McCaffrey df.",
}
_CLUSTER_DF = ("clusters", "bell-mccaffrey")
_CLUSTER_OPTIONS = {
    "groups", "use_correction", "df_correction", "scaling_factor", "df",
}  # fmt: skip


def covariance_name(cov_type) -> str | None:
    """Estimator that ``cov_type`` stands for; None if it is not known."""
    if cov_type is None:
        return "nonrobust"
    return _COVARIANCES.get(cov_type.lower()) if isinstance(cov_type, str) else None


class ParameterCovariance:
    """The part of the results that knows how uncertain the parameters are.

    Attributes
    ----------
    cov_type : str
        The covariance's type, as given.
    cov_kwds : dict
        What it was made with, and a description.
    df_resid_inference : float
        Degrees of freedom of tests; only there where clusters determine them.
    """

    cov_type = "nonrobust"
    _estimator = "nonrobust"
    _cluster = None
    _cluster_df = "clusters"

    # ---- choice ----

    def get_robustcov_results(self, cov_type="CR1", use_t=None, **kwds):
        """The same estimates with another covariance of the parameters.

        Parameters
        ----------
        cov_type : str, optional
            One of

            - "nonrobust" or "gls": sigma^2 (X'V0^-1 X)^-1, the default of ``fit``;
            - "oim": statsmodels', the inverse of the whole observed information;
            - "CR0", "CR1", "CR2", "CR3": cluster-robust; "cluster" is CR1.
        use_t : bool, optional
            t and F, or normal and chi-squared laws.  None: t for CR2 and CR3, else normal
            (for "nonrobust" and "oim": as the results' ``df_method`` says).
        **kwds
            Of the cluster-robust types:

            ``groups`` : labels (array or Series), name of a column, an index level or a
            grouping factor; two of them in a list, or a frame or array with two columns,
            for two-way clusters (CR0 and CR1).  The grouping factor that all others are
            nested in if it is left out.

            ``use_correction`` : bool.  False turns the factor G / (G - 1) * (n - 1) /
            (n - p) of CR1 off.

            ``df_correction`` : bool.  False leaves n - p degrees of freedom where there
            would be G - 1.

            ``df`` : {"clusters", "bell-mccaffrey"}.  Degrees of freedom where t and F are
            used: G - 1 (the smaller G, two-way; the default of CR0 and CR1), or those of
            Bell and McCaffrey, HTZ for joint tests (default of CR2 and CR3).

            ``scaling_factor`` : float.  Multiplies the covariance.

        Returns
        -------
        MixedLMResultsWrapper

        Raises
        ------
        ValueError
            If the type or a keyword is not known, or the type is not defined for these
            clusters: CR2, CR3 and Bell-McCaffrey's df need all grouping factors to be
            nested in the clusters.

        Warns
        -----
        ClusterWarning
            If a two-way covariance is not positive semidefinite, a joint test has too few
            clusters, or a cluster alone identifies a coefficient (CR2, CR3).

        References
        ----------
        Pustejovsky and Tipton (2018), Small-sample methods for cluster-robust variance
        estimation and hypothesis testing in fixed effects models, Journal of Business and
        Economic Statistics 36(4).

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
        >>> robust = result.get_robustcov_results("CR2")
        >>> result.bse_fe.round(4).to_dict()
        {'Intercept': 9.7467, 'Days': 0.8042}
        >>> robust.bse_fe.round(4).to_dict()
        {'Intercept': 6.8246, 'Days': 1.5458}
        """
        new = self._copy()
        new._choose_covariance(cov_type, use_t, kwds)
        return self._wrapped(new)

    def _copy(self):
        """The same results without what has been made of the covariance."""
        new = copy.copy(self)
        new._cache = {}
        for owner in type(self).__mro__:
            if owner.__module__.startswith("mixedext"):
                for name, value in vars(owner).items():
                    if isinstance(value, cached_property) and name not in _KEPT:
                        vars(new).pop(name, None)
        return new

    def _choose_covariance(self, cov_type=None, use_t=None, kwds=None):
        if not isinstance(kwds, Mapping | None):
            raise ValueError(
                f"cov_kwds={kwds!r} must map names to values: {{'groups': ...}}"
            )
        name, kwds = covariance_name(cov_type), dict(kwds or {})
        if name is None:
            raise ValueError(
                f"cov_type={cov_type!r} is not known; use 'nonrobust', 'oim', 'cluster', "
                "'CR0', 'CR1', 'CR2' or 'CR3'"
            )
        clustered = name.startswith("CR")
        unknown = sorted(set(kwds) - (_CLUSTER_OPTIONS if clustered else set()))
        if unknown:
            raise ValueError(f"cov_kwds: {unknown[0]!r} is not used by {cov_type!r}")
        vars(self).pop("df_resid_inference", None)
        vars(self).pop("_tests_made", None)
        self._cluster, self._cluster_df = None, "clusters"
        self._estimator, self.cov_type = name, cov_type or "nonrobust"
        if name != "nonrobust":
            self._check_df_method(self.df_method)
        self.cov_kwds = {"description": _DESCRIPTIONS[name]}
        if clustered:
            self._make_cluster_covariance(name, kwds)
        if use_t is False and self.df_method is not None:
            raise ValueError(
                f"use_t=False asks for the normal law, df_method={self.df_method!r} for t"
            )
        own = self.df_method is not None or self._cluster_df == "bell-mccaffrey"
        self.use_t = own if use_t is None else use_t
        self.cov_kwds["use_t"] = self.use_t

    def _make_cluster_covariance(self, kind, kwds):
        model = self.model
        if not model.has_rows:
            raise ValueError(
                "a cluster-robust covariance needs the rows of the data in memory: use "
                "MixedLM or mixedlm, and fit before remove_data()"
            )
        if kind == "CR1" and not kwds.get("use_correction", True):
            kind = "CR0"
        own = "bell-mccaffrey" if kind in ("CR2", "CR3") else "clusters"
        df = kwds.get("df", own)
        if df not in _CLUSTER_DF:
            raise ValueError(f"df={df!r} is not known; use one of {_CLUSTER_DF}")
        groups = kwds.get("groups")
        ways = cluster_codes(model, groups)
        rows = (model.exog, self.resid)
        if len(ways) == 1:
            cluster = cluster_covariance(
                self.engine_fit,
                kind,
                ways[0],
                *rows,
                model.random_terms,
                model.weights,
                moments=df == "bell-mccaffrey",
            )
        elif df == "bell-mccaffrey" and kind in ("CR0", "CR1"):
            raise ValueError("df='bell-mccaffrey' is not defined for two-way clusters")
        else:
            cluster = two_way_covariance(
                self.engine_fit, kind, *ways, *rows, model.random_terms, model.weights
            )
        if len(cluster.determined):
            warnings.warn(
                f"{len(cluster.determined)} of the clusters alone identify a coefficient: "
                f"{kind} cannot say how uncertain it is",
                ClusterWarning,
                stacklevel=user_stacklevel(),
            )
        self._cluster, self._cluster_df = cluster.scaled(kwds.get("scaling_factor")), df
        adjust = kwds.get("df_correction") is not False
        if adjust:
            self.df_resid_inference = min(cluster.n_clusters) - 1
        counts = cluster.n_clusters
        self.cov_kwds |= {
            "groups": groups,
            "use_correction": kind == "CR1",
            "adjust_df": adjust,
            "df": df,
            "n_groups": counts[0] if len(counts) == 1 else counts,
        }

    def _check_df_method(self, df_method):
        if df_method_name(df_method) not in (None, "residual"):
            raise ValueError(
                f"df_method={df_method!r} belongs to the model's own covariance of the "
                f"fixed effects, not to cov_type={self.cov_type!r}; use "
                "cov_type='nonrobust', or df_method=None"
            )

    # ---- tests of fixed effects ----

    def _fixed_tests(self, df_method=None, use_t=None) -> FixedTests:
        """Tests by the results' covariance; degrees of freedom by default their own."""
        use_t = self.use_t if use_t is None else use_t
        name = df_method_name(df_method)
        if name is None and use_t:
            name = self.df_method
        if self._estimator == "nonrobust":
            name = "residual" if use_t and name is None else name
            made = vars(self).setdefault("_tests_made", {})
            if name not in made:
                made[name] = fixed_tests(self.engine_fit, name)
            return made[name]
        self._check_df_method(name)
        moments, df = None, np.inf
        if name == "residual":
            df = self.df_resid
        elif use_t and self._cluster_df == "bell-mccaffrey":
            moments, df = self._cluster.moments, None
        elif use_t:
            df = getattr(self, "df_resid_inference", self.df_resid)
        return CovarianceTests(self.engine_fit, self._kept_inner, df, moments)

    def df_description(self, df_method=None, use_t=None) -> str:
        """The method for the degrees of freedom of tests, in words."""
        use_t = (df_method is not None or self.use_t) if use_t is None else use_t
        if not use_t:
            return "none (z)"
        # cluster-robust covariances bring their own degrees of freedom
        own = self.df_method or self.cov_kwds.get("df", "residual")
        return df_method_name(df_method) or own

    # ---- matrices ----

    @cached_property
    def _variance_covariance(self):
        return variance_covariance(self.engine_fit)

    @cached_property
    def _observed_covariance(self):
        return observed_covariance(self.engine_fit, self._variance_covariance.relative)

    @property
    def _kept_inner(self):
        """The covariance chosen, in the coordinates of ``FixedTests``."""
        if self._cluster is not None:
            return self._cluster.inner
        return fixed_covariance(self.engine_fit, self._variance_covariance.relative)

    @property
    def _kept_covariance(self):
        """Covariance of the coefficients that were kept."""
        if self._cluster is not None:
            return self._cluster.covariance
        if self._estimator == "oim":
            rank = self.engine_fit.design.basis.rank
            return self._observed_covariance[:rank, :rank]
        return self.engine_fit.covariance

    @cached_property
    def _cov_fe(self):
        """Covariance of all fixed-effects columns; NaN for those dropped."""
        kept = self.engine_fit.design.basis.kept
        covariance = np.full((self.k_fe, self.k_fe), np.nan)
        covariance[np.ix_(kept, kept)] = self._kept_covariance
        return covariance

    @cached_property
    def _cov_params(self):
        order = self.model.layout.packed_gamma
        n_params = self.k_fe + len(order)
        if self._estimator == "oim":
            basis = self.engine_fit.design.basis
            covariance = np.full((n_params, n_params), np.nan)
            to = np.append(basis.kept, self.k_fe + np.arange(len(order)))
            of = np.append(np.arange(basis.rank), basis.rank + order)
            covariance[np.ix_(to, to)] = self._observed_covariance[np.ix_(of, of)]
            return covariance
        covariance = np.zeros((n_params, n_params))
        covariance[: self.k_fe, : self.k_fe] = self._cov_fe
        if len(order):
            relative = self._variance_covariance.relative
            covariance[self.k_fe :, self.k_fe :] = relative[np.ix_(order, order)]
        return covariance

    @property
    def cov_params_default(self):
        """Covariance of ``params`` of the type chosen, an array."""
        return self._cov_params

    @property
    def normalized_cov_params(self):
        """Covariance of ``params`` divided by ``scale``."""
        return self.cov_params() / self.scale

    @normalized_cov_params.setter
    def normalized_cov_params(self, value):
        # statsmodels' base class assigns None; the matrix is computed on demand.
        if value is not None:
            raise AttributeError("normalized_cov_params is computed, not set")

    def cov_params(self, r_matrix=None, column=None, scale=None, cov_p=None, other=None):
        """Covariance matrix of the parameters, or of linear combinations of them.

        By default the block of the fixed effects is sigma^2 (X'V0^-1 X)^-1 (GLS), or the
        robust one, and that of the variance parameters (divided by scale) comes from the
        observed information; with ``cov_type="oim"`` all is from one Hessian.

        Parameters
        ----------
        r_matrix, other : array_like, optional
            Combinations: r_matrix cov other', with other = r_matrix if None.
        column : array_like, optional
            Rows and columns to pick.
        scale : float, optional
            Residual variance to use in place of the estimate.
        cov_p : ndarray, optional
            Covariance of the parameters to use in place of the estimate.

        Returns
        -------
        ndarray
            A DataFrame where labels are attached.

        Raises
        ------
        ValueError
            If ``column`` or ``other`` is combined with what it does not go with.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> round(float(result.cov_params().loc["Days", "Days"]) ** 0.5, 4)
        1.5458
        """
        if cov_p is None:
            cov_p = self._cov_params
            if scale is not None:
                cov_p = cov_p / self.scale * scale
        if column is not None:
            if r_matrix is not None or other is not None:
                raise ValueError("Column should be specified without other arguments.")
            column = np.asarray(column)
            if column.ndim == 0:
                return cov_p[column, column]
            return cov_p[column[:, None], column]
        if r_matrix is None:
            if other is not None:
                raise ValueError("other can only be specified with r_matrix")
            return cov_p
        r_matrix = np.asarray(r_matrix, float)
        other = r_matrix if other is None else np.asarray(other, float)
        return nan_dot(r_matrix, nan_dot(cov_p, other.T))

    @cached_property
    def bse(self):
        """Standard errors of ``params``; NaN where dropped or on the boundary."""
        with np.errstate(invalid="ignore"):  # not at a maximum, or a saddle: NaN
            return np.sqrt(np.diag(self._cov_params))

    @cached_property
    def bse_fe(self):
        """Standard errors of the fixed effects; NaN for columns that were dropped."""
        return np.sqrt(np.diag(self._cov_fe))

    @cached_property
    def bse_re(self):
        """Standard errors of the variance parameters, on the data's scale.

        From the observed information, in the order of the packed parameters.  NaN for
        terms on the boundary (a variance of zero, a correlation of +-1), where there is
        no such error.
        """
        absolute = np.diag(self._variance_covariance.absolute)[:-1]
        return np.sqrt(absolute[self.model.layout.packed_gamma])

    @property
    def bse_scale(self):
        """Standard error of the residual variance, from the observed information."""
        return float(np.sqrt(self._variance_covariance.absolute[-1, -1]))


# What does not depend on the covariance chosen.
_KEPT = {
    "_observed_covariance",
    "_quantiles",
    "_variance_covariance",
    "bse_re",
    "group_sizes",
    "reference_grid",
}
