"""A panel of employment, simulated"""

from mixedext.datasets import _utils

COPYRIGHT = "Simulated for this package; in the public domain."
TITLE = __doc__
SOURCE = """Simulated for mixedext from a random-effects logit with standard deviation 1.2.
"""

DESCRSHORT = "Whether 200 simulated persons work, in six years"

DESCRLONG = """Two hundred persons over six years. The logit of the probability to work is
-2.2 + .22 schooling - .65 kids - .3 married + .1 (year - 2001) + a normal effect of the
person with standard deviation 1.2."""

NOTE = """::

    Number of observations - 1200

    Number of variables - 6

    Variable name definitions::

        person     - person, 200 levels
        year       - year, 2001 to 2006
        schooling  - years of schooling
        kids       - number of small children
        married    - 1 if married
        works      - 1 if the person works, else 0

No person is real.
"""

_FACTORS = {
    "person": [f"{i}" for i in range(1, 201)],
}


def load() -> _utils.Dataset:
    """Load the panel as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import panel
    >>> panel.load().data.shape
    (1200, 6)
    """
    return _utils.load_csv(__name__, endog="works", factors=_FACTORS)


load_pandas = load
