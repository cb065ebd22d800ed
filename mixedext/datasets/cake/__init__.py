"""Breakage angle of chocolate cakes"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Cook (1938), in Cochran and Cox (1957), table 7.5.

Cook, F. E. (1938). Chocolate cake, I. Optimum baking temperature. Master's thesis,
Iowa State College.

Cochran, W. G. and Cox, G. M. (1957). Experimental Designs, 2nd ed. New York: Wiley,
table 7.5.
"""

DESCRSHORT = "Breakage angle of cakes by recipe and temperature, a split plot"

DESCRLONG = """The angle at which chocolate cakes broke that were made by three
recipes and baked at six temperatures. In each of 15 replicates of a recipe one batter
was divided among the six temperatures: a split-plot design, the recipes on the whole
plots and the temperatures on the sub-plots."""

NOTE = """::

    Number of observations - 270

    Number of variables - 5

    Variable name definitions::

        replicate   - replicate, 1 to 15, in the order of time
        recipe      - recipe, A to C
        temperature - baking temperature (degrees F), a factor, 175 to 225
        angle       - angle at which the cake broke (degrees)
        temp        - baking temperature (degrees F), a number

The replicates are numbered anew in every recipe; the 45 batters are told apart by
``recipe:replicate``.
"""

_FACTORS = {
    "replicate": [f"{i}" for i in range(1, 16)],
    "recipe": list("ABC"),
    "temperature": [f"{i}" for i in range(175, 226, 10)],
}


def load() -> _utils.Dataset:
    """Load the breakage angles of the cakes as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import cake
    >>> data = cake.load().data
    >>> data["temperature"].cat.categories.tolist()
    ['175', '185', '195', '205', '215', '225']
    """
    return _utils.load_csv(__name__, endog="angle", factors=_FACTORS)


load_pandas = load
