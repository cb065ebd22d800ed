"""Brightness of paper pulp by shift operator"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Sheldon (1960), Industrial and Engineering Chemistry 52, 507-509.

Sheldon, F. (1960). Statistical techniques applied to production situations.
Industrial and Engineering Chemistry 52, 507-509.

Faraway, J. J. (2016). Extending the Linear Model with R, 2nd ed. Boca Raton: CRC
Press.
"""

DESCRSHORT = "Brightness of 5 sheets of paper from each of 4 shift operators"

DESCRLONG = """The brightness, by a reflectance meter, of five sheets of paper made
by each of four shift operators: a one-way layout with a random factor."""

NOTE = """::

    Number of observations - 20

    Number of variables - 2

    Variable name definitions::

        bright   - brightness of the paper
        operator - shift operator, a to d
"""

_FACTORS = {
    "operator": list("abcd"),
}


def load() -> _utils.Dataset:
    """Load the brightness of the paper as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import pulp
    >>> data = pulp.load().data
    >>> data.groupby("operator", observed=True)["bright"].mean().round(2).tolist()
    [60.24, 60.06, 60.62, 60.68]
    """
    return _utils.load_csv(__name__, endog="bright", factors=_FACTORS)


load_pandas = load
