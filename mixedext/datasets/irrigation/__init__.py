"""Yield of two varieties by irrigation method"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Faraway (2016), Extending the Linear Model with R, 2nd ed.

Faraway, J. J. (2016). Extending the Linear Model with R, 2nd ed. Boca Raton: CRC
Press.
"""

DESCRSHORT = "Yield by variety and irrigation in 8 fields, a split plot"

DESCRLONG = """Four methods of irrigation were assigned to eight fields, two fields
each, and two varieties to the halves of every field: a split-plot design, the
irrigation on the fields and the variety on their halves."""

NOTE = """::

    Number of observations - 16

    Number of variables - 4

    Variable name definitions::

        field      - field, f1 to f8
        irrigation - method of irrigation, i1 to i4
        variety    - variety, v1 and v2
        yield      - yield of the half field
"""

_FACTORS = {
    "field": [f"f{i}" for i in range(1, 9)],
    "irrigation": ["i1", "i2", "i3", "i4"],
    "variety": ["v1", "v2"],
}


def load() -> _utils.Dataset:
    """Load the yields of the half fields as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import irrigation
    >>> data = irrigation.load().data
    >>> data.groupby("variety", observed=True)["yield"].mean().round(2).tolist()
    [39.85, 40.6]
    """
    return _utils.load_csv(__name__, endog="yield", factors=_FACTORS)


load_pandas = load
