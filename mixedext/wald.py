"""Wald tests and intervals of linear combinations of the parameters."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import stats
from statsmodels.stats.contrast import ContrastResults
from statsmodels.tools.sm_exceptions import ValueWarning
from statsmodels.tools.tools import nan_dot

from mixedext.exceptions import user_stacklevel
from mixedext.specification.statsmodels_compat import FormulaManager

__all__ = ["WaldTests"]


class WaldTests:
    """The part of the results that tests fixed effects.

    Fixed effects that were dropped are NaN in ``params`` and its covariance; a
    combination that uses none of them is tested all the same.
    """

    def cov_params(self, r_matrix=None, column=None, scale=None, cov_p=None, other=None):
        """Covariance matrix of the parameters, or of linear combinations of them.

        The block of the fixed effects is sigma^2 (X'V0^-1 X)^-1 (GLS); that of the
        variance parameters (divided by scale) comes from the observed information.

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

    def t_test(self, r_matrix, cov_p=None, use_t=None):
        """Test linear combinations of the fixed effects, one at a time.

        Parameters
        ----------
        r_matrix : array_like or str or tuple
            Rows of coefficients (of the fixed effects, or of all parameters), a
            constraint such as "Days = 0", or a pair (matrix, values).
        cov_p : ndarray, optional
            Covariance of the parameters to use in place of the estimate.
        use_t : bool, optional
            t or z; the results' own choice if None.

        Returns
        -------
        ContrastResults

        Raises
        ------
        ValueError
            If the width of the matrix is wrong, or a column that was dropped is used.
        """
        rows, values = self._constraint(r_matrix)
        cov_p = self._cov_for(rows, cov_p)
        use_t = self.use_t if use_t is None else use_t
        effect = rows @ np.nan_to_num(self.params)
        sd = np.sqrt(np.diag(nan_dot(rows, nan_dot(np.asarray(cov_p), rows.T))))
        statistic = (effect - values) / sd
        if use_t:
            return ContrastResults(
                effect=effect, t=statistic, sd=sd, df_denom=self.df_resid
            )
        return ContrastResults(
            effect=effect,
            statistic=statistic,
            sd=sd,
            df_denom=np.inf,
            distribution="norm",
        )

    def wald_test(
        self,
        r_matrix,
        cov_p=None,
        invcov=None,
        use_f=None,
        df_constraints=None,
        scalar=None,
    ):
        """Test linear combinations of the fixed effects jointly.

        Parameters
        ----------
        r_matrix : array_like or str or tuple
            As for ``t_test``.
        cov_p : ndarray, optional
            Covariance of the parameters to use in place of the estimate.
        invcov : ndarray, optional
            Inverse of the covariance of the combinations.
        use_f : bool, optional
            F or chi-squared; the results' own choice (``use_t``) if None.
        df_constraints : int, optional
            Number of constraints; the rank of their covariance if None.
        scalar : bool, optional
            Statistic as a float (True) or as a (1, 1) array, statsmodels' old default.

        Returns
        -------
        ContrastResults
        """
        rows, values = self._constraint(r_matrix)
        difference = rows @ np.nan_to_num(self.params) - values
        if invcov is None:
            covariance = nan_dot(rows, nan_dot(self._cov_for(rows, cov_p), rows.T))
            # on the scale of correlations, so that units do not matter
            size = np.sqrt(np.diag(covariance))
            size = np.where(size > 0, size, 1.0)
            scaled = covariance / np.outer(size, size)
            rank = np.linalg.matrix_rank(scaled, hermitian=True)
            if rank < len(rows):
                warnings.warn(
                    f"the covariance of the {len(rows)} constraints has rank {rank}",
                    ValueWarning,
                    stacklevel=user_stacklevel(),
                )
            invcov = np.linalg.pinv(scaled, hermitian=True) / np.outer(size, size)
        else:
            rank = len(rows)
        count = rank if df_constraints is None else df_constraints
        square = float(difference @ np.asarray(invcov) @ difference)
        use_f = self.use_t if use_f is None else use_f
        shape = float if scalar else np.atleast_2d
        if use_f:
            return ContrastResults(
                F=shape(square / count), df_denom=self.df_resid, df_num=count
            )
        return ContrastResults(
            chi2=shape(square),
            df_denom=count,
            statistic=shape(square),
            distribution="chi2",
            distargs=(count,),
        )

    def f_test(self, r_matrix, cov_p=None, invcov=None):
        """F test of linear combinations of the fixed effects; see ``wald_test``."""
        return self.wald_test(r_matrix, cov_p, invcov, use_f=True, scalar=True)

    def _cov_for(self, rows, cov_p):
        """Covariance for constraints, after a check that they are estimable."""
        used = np.abs(rows).sum(axis=0) > 0
        dropped = used[: self.k_fe] & np.isnan(self.fe_params)
        if dropped.any():
            names = np.array(self.model.exog_names)[dropped]
            raise ValueError(
                f"not estimable: {', '.join(names)} depend on other columns of exog"
            )
        if cov_p is not None:
            return np.asarray(cov_p, float)
        if used[self.k_fe :].any():
            return self._cov_params
        cov_p = np.zeros((len(self.params),) * 2)
        cov_p[: self.k_fe, : self.k_fe] = self._cov_fe
        return cov_p

    def _constraint(self, r_matrix):
        names = self.model.data.param_names
        values = 0.0
        if isinstance(r_matrix, str) or (
            isinstance(r_matrix, list) and r_matrix and isinstance(r_matrix[0], str)
        ):
            parsed = FormulaManager().get_linear_constraints(r_matrix, names)
            return parsed.constraint_matrix, np.ravel(parsed.constraint_values)
        if isinstance(r_matrix, tuple):
            r_matrix, values = r_matrix
        rows = np.atleast_2d(np.asarray(r_matrix, float))
        if rows.shape[1] == self.k_fe:
            pad = np.zeros((len(rows), len(self.params) - self.k_fe))
            rows = np.hstack([rows, pad])
        if rows.shape[1] != len(self.params):
            raise ValueError(
                f"r_matrix for t-test should have {self.k_fe} columns (the fixed "
                f"effects) or {len(self.params)} (all parameters), not {rows.shape[1]}"
            )
        values = np.ravel(values)
        if len(values) not in (1, len(rows)):
            raise ValueError(f"r_matrix has {len(values)} values for {len(rows)} rows")
        return rows, values

    def conf_int(self, alpha=0.05, cols=None):
        """Wald intervals of all packed parameters, shape (n_params, 2)."""
        if not 0 < alpha < 1:
            raise ValueError(f"alpha={alpha!r} must lie between 0 and 1")
        law = stats.t(self.df_resid) if self.use_t else stats.norm
        q = law.ppf(1 - alpha / 2)
        limits = np.column_stack([self.params - q * self.bse, self.params + q * self.bse])
        return limits if cols is None else limits[np.asarray(cols)]
