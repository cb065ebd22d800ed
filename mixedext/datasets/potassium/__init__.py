"""Strength of cotton by rate of potash"""

from mixedext.datasets import _utils

COPYRIGHT = """These are published data, but for block 2 (see NOTE); facts are in the \
public domain."""
TITLE = __doc__
SOURCE = """Cochran and Cox (1957), section 4.23, with block 2 raised by 0.2.

Cochran, W. G. and Cox, G. M. (1957). Experimental Designs, 2nd ed. New York: Wiley,
section 4.23.
"""

DESCRSHORT = "Strength of cotton at 5 rates of potash in 3 randomized blocks"

DESCRLONG = """The strength index of cotton that was grown at five rates of potash
(K2O) in three randomized blocks."""

NOTE = """::

    Number of observations - 15

    Number of variables - 3

    Variable name definitions::

        K2O_lbac - potash (lb an acre), a factor: 36, 54, 72, 108, 144
        rep      - block, 1 to 3
        yield    - strength index of the cotton

Block 2 is not as published: Cochran and Cox (1957) print it lower by 0.2, namely
8.00, 8.15, 7.73, 7.57 and 7.68 for the rates 36 to 144. The means of the rates are
7.92, 8.12, 7.81, 7.58 and 7.52 here, each 0.2 / 3 above the published ones.
"""

_FACTORS = {
    "K2O_lbac": ["36", "54", "72", "108", "144"],
    "rep": ["1", "2", "3"],
}


def load() -> _utils.Dataset:
    """Load the strengths of cotton as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import potassium
    >>> data = potassium.load().data
    >>> data.groupby("K2O_lbac", observed=True)["yield"].mean().round(2).to_dict()
    {'36': 7.92, '54': 8.12, '72': 7.81, '108': 7.58, '144': 7.52}
    """
    return _utils.load_csv(__name__, endog="yield", factors=_FACTORS)


load_pandas = load
