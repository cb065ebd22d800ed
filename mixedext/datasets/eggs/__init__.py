"""Fat content of dried eggs by laboratory"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Bliss (1967), in Faraway (2016).

Bliss, C. I. (1967). Statistics in Biology, Volume 1. New York: McGraw-Hill.

Faraway, J. J. (2016). Extending the Linear Model with R, 2nd ed. Boca Raton: CRC
Press.
"""

DESCRSHORT = "Fat content of dried eggs by laboratory, technician and sample"

DESCRLONG = """Samples from one jar of well-mixed dried egg powder were sent to six
laboratories, to see how far their results agree. In each, two technicians each
analysed two samples, labelled G and H although they were the same, and made two
determinations of the fat content of each. Samples are nested in technicians and these
in laboratories."""

NOTE = """::

    Number of observations - 48

    Number of variables - 4

    Variable name definitions::

        Fat        - fat content
        Lab        - laboratory, I to VI
        Technician - technician within the laboratory, one and two
        Sample     - sample within the technician, G and H

The labels of ``Technician`` and ``Sample`` are used anew in every laboratory: the
12 technicians are ``Lab:Technician``, the 24 samples ``Lab:Technician:Sample``.
"""

_FACTORS = {
    "Lab": ["I", "II", "III", "IV", "V", "VI"],
    "Technician": ["one", "two"],
    "Sample": ["G", "H"],
}


def load() -> _utils.Dataset:
    """Load the fat contents as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import eggs
    >>> data = eggs.load().data
    >>> data.groupby(["Lab", "Technician", "Sample"], observed=True).ngroups
    24
    """
    return _utils.load_csv(__name__, endog="Fat", factors=_FACTORS)


load_pandas = load
