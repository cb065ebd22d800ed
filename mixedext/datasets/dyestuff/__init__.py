"""Yield of dyestuff by batch"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Davies and Goldsmith (1972), section 6.4.

Davies, O. L. and Goldsmith, P. L. (eds) (1972). Statistical Methods in
Research and Production, 4th ed. Edinburgh: Oliver and Boyd, section 6.4.
"""

DESCRSHORT = "Yield of dyestuff in 5 preparations from each of 6 batches"

DESCRLONG = """The yield of dyestuff (Naphthalene Black 12B) of five preparations
from each of six batches of an intermediate product (H-acid), made to learn how much
the variation between the batches adds to the variation of the yield. The classic
one-way layout with a random factor."""

NOTE = """::

    Number of observations - 30

    Number of variables - 2

    Variable name definitions::

        Batch - batch of the intermediate product, A to F
        Yield - yield of the preparation (grams of standard colour)
"""

_FACTORS = {
    "Batch": list("ABCDEF"),
}


def load() -> _utils.Dataset:
    """Load the yields of dyestuff as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import dyestuff
    >>> data = dyestuff.load().data
    >>> data.groupby("Batch", observed=True)["Yield"].mean().tolist()
    [1505.0, 1528.0, 1564.0, 1498.0, 1600.0, 1470.0]
    """
    return _utils.load_csv(__name__, endog="Yield", factors=_FACTORS)


load_pandas = load
