"""Reaction times in a sleep deprivation study"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Belenky et al. (2003), Journal of Sleep Research 12, 1-12.

Belenky, G., Wesensten, N. J., Thorne, D. R., Thomas, M. L., Sing, H. C.,
Redmond, D. P., Russo, M. B. and Balkin, T. J. (2003). Patterns of performance
degradation and restoration during sleep restriction and subsequent recovery: a
sleep dose-response study. Journal of Sleep Research 12, 1-12.
"""

DESCRSHORT = "Reaction time of 18 subjects on 10 days of a sleep deprivation study"

DESCRLONG = """The average reaction time on each of ten days of 18 subjects, who
were allowed three hours in bed a night. The classic example of a random intercept
and a random slope."""

NOTE = """::

    Number of observations - 180

    Number of variables - 3

    Variable name definitions::

        Reaction - average reaction time of the day (ms)
        Days     - day of the study, 0 to 9
        Subject  - subject, 18 levels 308 to 372

Days 0 and 1 were for adaptation and training, day 2 was the baseline; the sleep
was restricted from then on.
"""

_SUBJECTS = [
    *range(308, 311),
    *range(330, 336),
    337,
    *range(349, 353),
    *range(369, 373),
]
_FACTORS = {
    "Subject": [f"{i}" for i in _SUBJECTS],
}


def load() -> _utils.Dataset:
    """Load the reaction times as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import sleepstudy
    >>> data = sleepstudy.load().data
    >>> data.shape
    (180, 3)
    >>> data["Subject"].nunique()
    18
    """
    return _utils.load_csv(__name__, endog="Reaction", factors=_FACTORS)


load_pandas = load
