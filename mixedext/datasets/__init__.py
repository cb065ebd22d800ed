"""Small classic data sets for mixed models, in the manner of statsmodels.datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.datasets import (
    cake,
    cbpp,
    dyestuff,
    dyestuff2,
    eggs,
    fev,
    grouseticks,
    irrigation,
    machines,
    oats,
    panel,
    pastes,
    penicillin,
    plants,
    potassium,
    pulp,
    sleepstudy,
    verbagg,
)
from mixedext.datasets._utils import Dataset

__all__ = [
    "available",
    "cake",
    "cbpp",
    "dyestuff",
    "dyestuff2",
    "eggs",
    "fev",
    "grouseticks",
    "irrigation",
    "load",
    "machines",
    "oats",
    "panel",
    "pastes",
    "penicillin",
    "plants",
    "potassium",
    "pulp",
    "sleepstudy",
    "verbagg",
]

if not TYPE_CHECKING:  # the annotations say what there is

    def __getattr__(name: str) -> Any:
        known = [*_MODULES, "available", "load"]
        plain = name.removeprefix("load_").removeprefix("get_")
        cure = f": write datasets.{plain}.load().data" if plain in _MODULES else ""
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}"
            f"{cure or did_you_mean(name, known) or '; available() lists what there is'}"
        )


_MODULES = {name: globals()[name] for name in __all__ if name not in ("available", "load")}


def available() -> pd.DataFrame:
    """List the data sets.

    Returns
    -------
    DataFrame
        One row a data set, in alphabetical order of the names in the index, with the
        columns ``title``, ``n_obs`` (number of rows), ``endog`` (name of the
        response), ``description`` (in short) and ``source`` (in short).

    See Also
    --------
    load : Load one of them.

    Examples
    --------
    >>> from mixedext import datasets
    >>> datasets.available()["endog"].head(3).to_dict()
    {'cake': 'angle', 'cbpp': 'incidence', 'dyestuff': 'Yield'}
    """
    rows = {}
    for name, module in _MODULES.items():
        dataset = module.load()
        rows[name] = {
            "title": module.TITLE,
            "n_obs": len(dataset.data),
            "endog": dataset.endog_name,
            "description": module.DESCRSHORT,
            "source": module.SOURCE.splitlines()[0],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def load(name: str) -> Dataset:
    """Load the data set of a name.

    Parameters
    ----------
    name : str
        One of the names that `available` lists.

    Returns
    -------
    Dataset
        With ``data`` (a DataFrame), ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``; factors are categorical columns.

    Raises
    ------
    ValueError
        If there is no data set of that name.

    See Also
    --------
    available : List the data sets.

    Examples
    --------
    >>> from mixedext import datasets
    >>> dataset = datasets.load("sleepstudy")
    >>> dataset.endog_name, dataset.exog_name
    ('Reaction', ['Days', 'Subject'])
    """
    if name not in _MODULES:
        raise ValueError(
            f"There is no data set {name!r}; there are {', '.join(_MODULES)}"
            f"{did_you_mean(name, _MODULES) or '.'}"
        )
    return _MODULES[name].load()
