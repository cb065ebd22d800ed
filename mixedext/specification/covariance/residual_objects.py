"""What users state of the correlation of residuals: an object a structure.

Objects hold names of columns, or values by rows, and know nothing of the data; the
classes that compute are in correlation.py and the files beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from mixedext.arguments import check_choice, check_count
from mixedext.specification.covariance.residual_structure import (
    ResidualStructure,
    check_between,
)

__all__ = [
    "AR1",
    "ARMA",
    "CAR1",
    "CS",
    "KINDS",
    "Antedependence",
    "Independent",
    "Spatial",
    "Toeplitz",
    "Unstructured",
]

#: Kinds of spatial correlation, in words.
KINDS = {
    "exp": "exponential",
    "gau": "Gaussian",
    "spher": "spherical",
    "lin": "linear",
    "ratio": "rational quadratic",
    "pow": "power",
}
METRICS = ("euclidean", "manhattan")


@dataclass(frozen=True, eq=False, repr=False)
class Independent(ResidualStructure):
    """Independent residuals, those of a model that states no structure.

    For ``variance=`` without correlation, and as the last of a list of structures.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.Independent())
    independent
    """

    call: ClassVar[str] = "independent"
    means: ClassVar[str] = "independent residuals"

    def __str__(self) -> str:
        return self.call


@dataclass(frozen=True, eq=False, repr=False)
class CS(ResidualStructure):
    """Compound symmetry: one correlation between all rows of a group.

    Text: ``"cs(1 | g)"``, ``"cs(visit | g)"``, ``"csh(visit | g)"``.

    Parameters
    ----------
    visit : str or array_like, optional
        Which of the visits a row is, of which no group may have one twice; without it,
        or with 1, rows are exchangeable.
    group : str or array_like
        Residual groups: rows of different ones are independent.  Several factors, of
        which groups are the combinations, in a tuple or as ``"a:b"`` or ``"a/b"``.
    het : bool, optional
        Whether every visit has a variance of its own.
    by : str or array_like, optional
        Factor, constant within groups, whose levels have their own parameters.
    rho : float, optional
        Where the search begins, and the value itself with ``fixed``.
    start : Mapping, optional
        Where the search begins, by name of the parameter, those of variances among them:
        ``model.residual.names``.
    fixed : bool, optional
        Whether the values given are held.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.CS("visit", group="subject", het=True))
    csh(visit | subject)
    """

    call: ClassVar[str] = "cs"
    means: ClassVar[str] = "compound symmetry"
    ordered: ClassVar[bool] = False
    visit: Any = None
    group: Any = None
    _: KW_ONLY
    het: bool = False
    by: Any = None
    rho: float | None = None
    start: Mapping[str, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self._check("het")
        check_between("CS: rho", self.rho, -1, 1)


@dataclass(frozen=True, eq=False, repr=False)
class AR1(ResidualStructure):
    """First-order autoregression: correlation rho to the power of the lag of two visits.

    Text: ``"ar1(visit | g)"``, ``"ar1h(visit | g)"``.

    Parameters
    ----------
    visit : str or array_like
        Which of the visits a row is.  Whole numbers count gaps, in their greatest common
        step; of a categorical the order of its levels counts.  1 is the order of rows.
    group, het, by, rho, start, fixed
        As for ``CS``; all rows are one series without ``group``.

    See Also
    --------
    CAR1 : by times.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.AR1("visit", group="subject"))
    ar1(visit | subject)
    """

    call: ClassVar[str] = "ar1"
    means: ClassVar[str] = "first-order autoregression"
    by_lag: ClassVar[bool] = True
    visit: Any = None
    group: Any = None
    _: KW_ONLY
    het: bool = False
    by: Any = None
    rho: float | None = None
    start: Mapping[str, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self._check("het")
        check_between("AR1: rho", self.rho, -1, 1)


@dataclass(frozen=True, eq=False, repr=False)
class CAR1(ResidualStructure):
    """First-order autoregression in continuous time: rho to the power of the time between.

    Text: ``"car1(time | g)"``.

    Parameters
    ----------
    time : str or array_like
        Times, any numbers; no group may have one twice.
    group, by, rho, start, fixed
        As for ``CS``; ``rho`` between 0 and 1, of one unit of time.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.CAR1("days", group="subject"))
    car1(days | subject)
    """

    call: ClassVar[str] = "car1"
    means: ClassVar[str] = "first-order autoregression in continuous time"
    over_visits: ClassVar[bool] = False
    time: Any = None
    group: Any = None
    _: KW_ONLY
    by: Any = None
    rho: float | None = None
    start: Mapping[str, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self._check()
        check_between("CAR1: rho", self.rho, 0, 1)


@dataclass(frozen=True, eq=False, repr=False)
class ARMA(ResidualStructure):
    """Autoregressive moving average over visits.

    Text: ``"arma(visit | g, p=1, q=1)"``.

    Parameters
    ----------
    visit : str or array_like
        As for ``AR1``.
    group, by, start, fixed
        As for ``CS``.
    p, q : int, optional
        Numbers of autoregressive and of moving average parameters.
    ar, ma : sequence of float, optional
        Where the search begins.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.ARMA("visit", group="subject", p=2))
    arma(visit | subject, p=2)
    """

    call: ClassVar[str] = "arma"
    means: ClassVar[str] = "autoregressive moving average"
    by_lag: ClassVar[bool] = True
    visit: Any = None
    group: Any = None
    _: KW_ONLY
    p: int = 0
    q: int = 0
    by: Any = None
    ar: Sequence[float] | None = None
    ma: Sequence[float] | None = None
    start: Mapping[str, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self._check()
        for name in ("p", "q"):
            value = getattr(self, name)
            if value != 0 or isinstance(value, bool):
                check_count(value, f"ARMA: {name}")
        if self.p + self.q == 0:
            raise ValueError("ARMA: p and q are both 0; give p=1, q=1 or as many as wanted")
        self._numbers("ar", self.p)
        self._numbers("ma", self.q)

    def _options(self) -> list[str]:
        orders = [f"{name}={value}" for name in "pq" if (value := getattr(self, name))]
        return orders + super()._options()


@dataclass(frozen=True, eq=False, repr=False)
class Toeplitz(ResidualStructure):
    """A correlation for each lag of two visits.

    Text: ``"toep(visit | g)"``, ``"toeph(...)"``, ``"toep(visit | g, bands=3)"``.

    Parameters
    ----------
    visit : str or array_like
        As for ``AR1``.
    group, het, by, start, fixed
        As for ``CS``.
    bands : int, optional
        Bands with the diagonal, as SAS counts them: with 3 the visits are correlated up
        to a lag of 2.  All lags if None.
    rho : sequence of float, optional
        Where the search begins, by lag.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.Toeplitz("visit", group="subject", bands=3, het=True))
    toeph(visit | subject, bands=3)
    """

    call: ClassVar[str] = "toep"
    means: ClassVar[str] = "a correlation for each lag"
    by_lag: ClassVar[bool] = True
    visit: Any = None
    group: Any = None
    _: KW_ONLY
    bands: int | None = None
    het: bool = False
    by: Any = None
    rho: Sequence[float] | None = None
    start: Mapping[str, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self._check("het")
        if self.bands is not None:
            check_count(self.bands, "Toeplitz: bands")
            if self.bands < 2:
                raise ValueError(
                    "Toeplitz: bands=1 is the diagonal alone; leave residual= out, or "
                    "write variance='ident(visit)' for a variance of each visit"
                )
        self._numbers("rho")

    def _options(self) -> list[str]:
        bands = [] if self.bands is None else [f"bands={self.bands}"]
        return bands + super()._options()


@dataclass(frozen=True, eq=False, repr=False)
class Unstructured(ResidualStructure):
    """Any covariance matrix over the visits.

    Text: ``"us(visit | g)"``.

    Parameters
    ----------
    visit : str or array_like
        Which of the visits a row is; of whole numbers their order alone counts.
    group, by, fixed
        As for ``CS``.
    start : Mapping or array_like, optional
        Where the search begins: values as for ``CS``, or a covariance matrix of the visits,
        (m, m), of which the ratios to its first variance count; of a DataFrame rows and
        columns are found by the labels of the visits.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.Unstructured("visit", group="subject", by="arm"))
    us(visit | subject, by=arm)
    """

    call: ClassVar[str] = "us"
    means: ClassVar[str] = "any covariance matrix"
    ordered: ClassVar[bool] = False
    visit: Any = None
    group: Any = None
    _: KW_ONLY
    by: Any = None
    start: Any = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self._check()


@dataclass(frozen=True, eq=False, repr=False)
class Antedependence(ResidualStructure):
    """Antedependence of the first order: a correlation of each two neighbouring visits.

    Text: ``"adh(visit | g)"``; with one variance ``"ad(visit | g)"``.

    Parameters
    ----------
    visit : str or array_like
        Which of the visits a row is; of whole numbers their order alone counts.
    group, het, by, start, fixed
        As for ``CS``, but with variances by visit unless ``het=False``.
    rho : sequence of float, optional
        Where the search begins, by pair of neighbours.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.Antedependence("visit", group="subject"))
    adh(visit | subject)
    """

    call: ClassVar[str] = "ad"
    means: ClassVar[str] = "antedependence"
    visit: Any = None
    group: Any = None
    _: KW_ONLY
    het: bool = True
    by: Any = None
    rho: Sequence[float] | None = None
    start: Mapping[str, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self._check("het")
        self._numbers("rho")


@dataclass(frozen=True, eq=False, repr=False)
class Spatial(ResidualStructure):
    """Correlation by distance.

    Text: ``"sp_exp(x, y | g)"``, ``"sp_gau(x, y, nugget=True)"`` and so on.

    Parameters
    ----------
    kind : {"exp", "gau", "spher", "lin", "ratio", "pow"}
        Exponential, Gaussian, spherical, linear, rational quadratic; power is the
        exponential one with the correlation at distance 1 as its parameter.
    coordinates : str or list of str or array_like
        Columns of the places: one, or several; arrays (n,) or (n, k).
    group : str or array_like, optional
        Residual groups; without it all rows are one field.
    nugget : bool or float, optional
        Whether rows at one place differ by a variance of their own, the share of the
        variance that is not correlated; a number is where the search begins.
    metric : {"euclidean", "manhattan"}, optional
        How distances are measured.
    by, start, fixed
        As for ``CS``.
    range : float, optional
        Where the search begins; for ``"pow"`` give ``rho``.
    rho : float, optional
        Correlation at distance 1, of ``"pow"``.

    Examples
    --------
    >>> import mixedext as mx
    >>> print(mx.Spatial("exp", ["row", "column"], nugget=True))
    sp_exp(row, column, nugget=True)
    """

    call: ClassVar[str] = "sp"
    means: ClassVar[str] = "correlation by distance"
    over_visits: ClassVar[bool] = False
    kind: str
    coordinates: Any = None
    group: Any = None
    _: KW_ONLY
    nugget: bool | float = False
    metric: str = "euclidean"
    by: Any = None
    range: float | None = None
    rho: float | None = None
    start: Mapping[str, float] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", KINDS)
        check_choice(self.metric, "metric", METRICS)
        self._check()
        if not isinstance(self.nugget, bool | np.bool_):
            check_between("Spatial: nugget", self.nugget, 0, 1)
        check_between("Spatial: range", self.range, 0, np.inf)
        check_between("Spatial: rho", self.rho, 0, 1)
        other = "rho" if self.kind != "pow" else "range"
        if getattr(self, other) is not None:
            right = "range" if other == "rho" else "rho"
            raise ValueError(f"Spatial: the parameter of {self.kind!r} is {right}=")

    @property
    def has_nugget(self) -> bool:
        """Whether there is a nugget."""
        return self.nugget is not False

    @property
    def places(self) -> tuple[Any, ...]:
        value = self.coordinates
        if value is None:
            return ()
        if isinstance(value, list | tuple) and len(value) and not _is_scalar(value[0]):
            return tuple(value)
        if hasattr(value, "columns") and hasattr(value, "iloc"):
            return tuple(value.iloc[:, j] for j in np.arange(value.shape[1]))
        if np.ndim(value) == 2:
            return tuple(np.asarray(value).T)
        return (value,)

    @property
    def text_call(self) -> str:
        return f"{self.call}_{self.kind}"

    def start_values(self) -> dict[str, Any]:
        given = super().start_values()
        own = not isinstance(self.nugget, bool | np.bool_)
        return given | ({"nugget": self.nugget} if own else {})

    def _options(self) -> list[str]:
        out = ["nugget=True"] if self.nugget is True else []
        if self.metric != "euclidean":
            out.append(f"metric={self.metric}")
        return out + super()._options()


def _is_scalar(value):
    """Whether the first of some coordinates is a number: then they are one column."""
    return isinstance(value, Real | np.generic)
