"""The groups of statsmodels' MixedLM: labels, rows, arrays by group, made on demand."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from mixedext.specification.terms.grouped import ComponentSpec, sorted_factor

__all__ = ["MADE_OF_ROWS", "GroupsView"]

# What is made of the groups' rows when it is asked for.
MADE_OF_ROWS = ["_group_codes", "row_indices", "endog_li", "exog_li"]
MADE_OF_ROWS += ["exog_re_li", "exog_re2_li", "exog_vc"]


class GroupsView:
    """The part of the model that speaks of the groups of one grouping factor.

    Arrays by group are made when they are first asked for, not pickled, and dropped with
    the data: nothing in the model needs them.
    """

    @property
    def stated_by_groups(self) -> bool:
        """Whether ``groups`` says all random terms, as in statsmodels."""
        count = len(self.components) + (self.main_term is not None)
        return 0 < count == len(self._design.terms)

    @cached_property
    def _group_codes(self):
        """Codes and levels of ``groups``, or else of the first grouping factor."""
        if self.grouped is not None:
            return self.grouped.codes, self.grouped.levels
        if self.groups is not None:
            return sorted_factor(self.groups)
        for term in self.random_terms or ():
            if hasattr(term, "codes"):  # not a term of a general Z
                return term.codes, term.levels
        return np.zeros(self.nobs, np.intp), [0]

    @cached_property
    def group_labels(self):
        """Levels of ``groups``, or else of the first grouping factor; one without any."""
        levels = self.group_levels
        return list(self._group_codes[1] if levels is None else levels)

    @cached_property
    def row_indices(self):
        """Rows of each group."""
        codes, levels = self._group_codes
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes, minlength=len(levels))
        rows = np.split(order, np.cumsum(counts)[:-1])
        return dict(zip(levels, rows, strict=True))

    @property
    def n_groups(self):
        """Number of levels of the first grouping factor."""
        return len(self.group_labels)

    @property
    def group_sizes(self) -> np.ndarray | None:
        """Rows of each group; None without a factor, or where no rows are in memory."""
        if not self.has_rows or not (self.random_terms or self.groups is not None):
            return None
        codes, levels = self._group_codes
        return np.bincount(codes, minlength=len(levels))

    def group_list(self, array):
        """An array split by group.

        Parameters
        ----------
        array : array_like or None
            One value, or one row, for each observation.

        Returns
        -------
        list of ndarray or None
            One array a group, in the order of ``group_labels``; None for None.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> model = mx.mixedlm("Reaction ~ Days", data, groups="Subject")
        >>> [days.max() for days in model.group_list(data["Days"])[:2]]
        [np.float64(9.0), np.float64(9.0)]
        """
        if array is None:
            return None
        array = np.asarray(array)
        if array.shape[:1] != (self.nobs,):
            raise ValueError(
                f"array must have a value for each of the {self.nobs} rows of the model; "
                f"its shape is {array.shape}"
            )
        return [array[rows] for rows in self.row_indices.values()]

    @cached_property
    def endog_li(self):
        """The response by group."""
        return self.group_list(self.endog)

    @cached_property
    def exog_li(self):
        """The fixed-effects columns by group."""
        return self.group_list(self.exog)

    @cached_property
    def exog_re_li(self):
        """Columns of the groups' own random effects by group; None if there are none."""
        return self.group_list(self.exog_re)

    @cached_property
    def exog_re2_li(self):
        """Cross-products of ``exog_re`` by group; None if there are none."""
        arrays = self.exog_re_li
        return None if arrays is None else [x.T @ x for x in arrays]

    @property
    def exog_re(self):
        """Columns of the groups' own random effects, (n, k_re); None if there are none."""
        grouped = self.grouped
        return None if grouped is None or grouped.main is None else grouped.main.z

    @cached_property
    def exog_vc(self):
        """The variance components as statsmodels' VCSpec; its matrices made on demand."""
        return ComponentSpec(self.grouped, self.component_columns)

    def forget_groups(self):
        """Drop what has been made of the rows of the groups."""
        for made in MADE_OF_ROWS:
            self.__dict__.pop(made, None)

    def _get_init_kwds(self):
        """Arguments that make the model again from ``endog`` and ``exog``."""
        own = len(self.components) + (self.main_term is not None)
        kwds = {
            "use_sqrt": self.use_sqrt,
            "groups": self.groups,
            "exog_re": self._named_exog_re(),
            "exog_vc": self.exog_vc if self.components else None,
            "terms": list((self.random_terms or [])[own:]),
            "weights": self.weights,
            "offset": self.offset,
        }
        if hasattr(self, "formula"):
            kwds["formula"] = self.formula
        return kwds

    def _named_exog_re(self):
        """``exog_re`` with its names; None where it is the default."""
        main = None if self.grouped is None else self.grouped.main
        if main is None:
            return None
        if main.names == ["Intercept"] and not self.components and main.columns == (None,):
            return None
        return pd.DataFrame(main.z, columns=self.layout.re_names[: main.k])
