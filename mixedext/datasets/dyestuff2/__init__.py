"""Simulated yields by batch, whose variance between batches is estimated as zero"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Box and Tiao (1973), section 5.1.2.

Box, G. E. P. and Tiao, G. C. (1973). Bayesian Inference in Statistical Analysis.
Reading: Addison-Wesley, section 5.1.2.
"""

DESCRSHORT = "Simulated yields of dyestuff, 5 from each of 6 batches"

DESCRLONG = """Simulated data in the layout of the dyestuff data: five values from
each of six batches. The mean square between the batches is less than that within
them, so that the estimated variance of the batches is zero."""

NOTE = """::

    Number of observations - 30

    Number of variables - 2

    Variable name definitions::

        Batch - batch, A to F
        Yield - simulated yield

Box and Tiao generated these values at random; they were not measured.
"""

_FACTORS = {
    "Batch": list("ABCDEF"),
}


def load() -> _utils.Dataset:
    """Load the simulated yields as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import dyestuff2
    >>> data = dyestuff2.load().data
    >>> round(float(data["Yield"].mean()), 4)
    5.6656
    """
    return _utils.load_csv(__name__, endog="Yield", factors=_FACTORS)


load_pandas = load
