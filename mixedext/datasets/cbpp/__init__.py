"""Contagious bovine pleuropneumonia in herds"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Lesnoff et al. (2004), Veterinary Research 35, 177-191.

Lesnoff, M., Laval, G., Bonnet, P., Abdicho, S., Workalemahu, A., Kifle, D., Peyraud, A.,
Lancelot, R. and Thiaucourt, F. (2004). Within-herd spread of contagious bovine
pleuropneumonia in Ethiopian highlands. Veterinary Research 35, 177-191.

Also cbpp of the R package lme4.
"""

DESCRSHORT = "New cases of a disease in 15 herds of cattle over four periods"

DESCRLONG = """Serological incidence of contagious bovine pleuropneumonia in 15 herds of
zebu cattle of the Ethiopian highlands: new cases of so many animals at risk, in up to
four periods. The classic example of a binomial response of counts."""

NOTE = """::

    Number of observations - 56

    Number of variables - 4

    Variable name definitions::

        herd       - herd, 15 levels
        incidence  - number of new cases in the period
        size       - number of animals at risk
        period     - period, 4 levels

Not every herd was seen in every period.
"""

_FACTORS = {
    "herd": [f"{i}" for i in range(1, 16)],
    "period": ["1", "2", "3", "4"],
}


def load() -> _utils.Dataset:
    """Load the incidences as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import cbpp
    >>> cbpp.load().data.shape
    (56, 4)
    """
    return _utils.load_csv(__name__, endog="incidence", factors=_FACTORS)


load_pandas = load
