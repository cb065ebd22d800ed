"""Productivity scores by machine and worker"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Milliken and Johnson (1992), in Pinheiro and Bates (2000).

Milliken, G. A. and Johnson, D. E. (1992). Analysis of Messy Data, Volume I: Designed
Experiments. London: Chapman and Hall.

Pinheiro, J. C. and Bates, D. M. (2000). Mixed-Effects Models in S and S-PLUS. New
York: Springer.
"""

DESCRSHORT = "Productivity of 6 workers, each three times on each of 3 machines"

DESCRLONG = """Three brands of machines were compared: six workers, chosen at random
from a factory, worked on each machine three times. The score rates the number and the
quality of the components that were made."""

NOTE = """::

    Number of observations - 54

    Number of variables - 3

    Variable name definitions::

        Worker  - worker, 1 to 6
        Machine - brand of machine, A to C
        score   - productivity score
"""

_FACTORS = {
    "Worker": list("123456"),
    "Machine": list("ABC"),
}


def load() -> _utils.Dataset:
    """Load the productivity scores as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import machines
    >>> data = machines.load().data
    >>> data.groupby("Machine", observed=True)["score"].mean().round(2).tolist()
    [52.36, 60.32, 66.27]
    """
    return _utils.load_csv(__name__, endog="score", factors=_FACTORS)


load_pandas = load
