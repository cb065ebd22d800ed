"""Split-plot experiment on varieties of oats"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Yates (1935), in Venables and Ripley (2002).

Yates, F. (1935). Complex experiments. Supplement to the Journal of the Royal
Statistical Society 2, 181-247.

Venables, W. N. and Ripley, B. D. (2002). Modern Applied Statistics with S, 4th ed. New
York: Springer.
"""

DESCRSHORT = "Yield of oats by variety and nitrogen, a split plot in 6 blocks"

DESCRLONG = """A field trial of three varieties of oats and four rates of nitrogen.
Each of six blocks has three whole plots, to which the varieties were assigned at
random; each whole plot has four sub-plots, one for each rate of nitrogen."""

NOTE = """::

    Number of observations - 72

    Number of variables - 5

    Variable name definitions::

        Block   - block, I to VI
        Variety - variety: Golden Rain, Marvellous, Victory
        nitro   - nitrogen (cwt an acre), a number
        yield   - yield of the sub-plot of 1/80 acre (quarter pounds)
        nitroF  - nitrogen, a factor: n0, n0.2, n0.4, n0.6
"""

_FACTORS = {
    "Block": ["I", "II", "III", "IV", "V", "VI"],
    "Variety": ["Golden Rain", "Marvellous", "Victory"],
    "nitroF": ["n0", "n0.2", "n0.4", "n0.6"],
}


def load() -> _utils.Dataset:
    """Load the yields of oats as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import oats
    >>> data = oats.load().data
    >>> data.groupby("Variety", observed=True)["yield"].sum().to_dict()
    {'Golden Rain': 2508.0, 'Marvellous': 2635.0, 'Victory': 2343.0}
    """
    return _utils.load_csv(__name__, endog="yield", factors=_FACTORS)


load_pandas = load
