"""Heights of seedlings in pots (made up)"""

from mixedext.datasets import _utils

COPYRIGHT = "These data were made up for mixedext and are in the public domain."
TITLE = __doc__
SOURCE = """Made up for illustration; the layout is that of a lecture on mixed models.
"""

DESCRSHORT = "Made-up heights of 10 seedlings in 4 pots at 2 levels of moisture"

DESCRLONG = """Ten seedlings grow in four pots, two pots at each of two levels of
moisture: pots are nested in moisture levels, and the pots have three, two, three and
two seedlings. Small enough to write out all the matrices of the model."""

NOTE = """::

    Number of observations - 10

    Number of variables - 4

    Variable name definitions::

        moisture - level of moisture, m1 and m2
        pot      - pot: p11 and p12 at m1, p21 and p22 at m2
        seedling - seedling within the pot, 1 to 3
        height   - height (made up)

The heights are made up for illustration: nobody measured them. The layout, ten
seedlings nested in pots at two levels of moisture, is an example of a lecture.
"""

_FACTORS = {
    "moisture": ["m1", "m2"],
    "pot": ["p11", "p12", "p21", "p22"],
    "seedling": ["1", "2", "3"],
}


def load() -> _utils.Dataset:
    """Load the made-up heights of the seedlings as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import plants
    >>> data = plants.load().data
    >>> data["pot"].value_counts(sort=False).tolist()
    [3, 2, 3, 2]
    """
    return _utils.load_csv(__name__, endog="height", factors=_FACTORS)


load_pandas = load
