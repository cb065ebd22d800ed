"""Variation in the testing of penicillin"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Davies and Goldsmith (1972), section 6.6.

Davies, O. L. and Goldsmith, P. L. (eds) (1972). Statistical Methods in
Research and Production, 4th ed. Edinburgh: Oliver and Boyd, section 6.6.
"""

DESCRSHORT = "Zone of inhibition of 6 samples of penicillin on each of 24 plates"

DESCRLONG = """Six samples of penicillin were tested by the B. subtilis method on
each of 24 plates: the penicillin diffuses into the agar and clears a zone whose
diameter is measured. Plates and samples are completely crossed random factors."""

NOTE = """::

    Number of observations - 144

    Number of variables - 3

    Variable name definitions::

        diameter - diameter of the zone of inhibition (mm)
        plate    - assay plate, a to x
        sample   - sample of penicillin, A to F
"""

_FACTORS = {
    "plate": list("abcdefghijklmnopqrstuvwx"),
    "sample": list("ABCDEF"),
}


def load() -> _utils.Dataset:
    """Load the diameters of the zones of inhibition as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import penicillin
    >>> data = penicillin.load().data
    >>> data["plate"].nunique(), data["sample"].nunique()
    (24, 6)
    """
    return _utils.load_csv(__name__, endog="diameter", factors=_FACTORS)


load_pandas = load
