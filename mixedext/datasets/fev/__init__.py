"""Forced expiratory volume in a simulated trial of four visits"""

from mixedext.datasets import _utils

COPYRIGHT = """From the R package mmrm of the openpharma contributors, under the Apache
License, Version 2.0."""
TITLE = __doc__
SOURCE = """R package mmrm (openpharma), data set fev_data.

Sabanes Bove, D., Li, L., Dedic, J., Kelkhoff, D., Kunzmann, K., Lang, B. M., Stock, C.,
Wang, Y., Leibovitz, D., Sidi, J. and others. mmrm: Mixed Models for Repeated Measures.
R package, https://openpharma.github.io/mmrm.
"""

DESCRSHORT = "Forced expiratory volume of 200 patients in two arms at four visits"

DESCRLONG = """Simulated data of a trial in lung disease: the forced expiratory volume in
one second of 200 patients, given a treatment or placebo, at four visits. A third of
the values is missing."""

NOTE = """::

    Number of observations - 800

    Number of variables - 10

    Variable name definitions::

        USUBJID - patient
        AVISIT  - visit, VIS1 to VIS4
        ARMCD   - arm: PBO (placebo) or TRT (treatment)
        RACE    - race
        SEX     - sex
        FEV1_BL - volume at baseline
        FEV1    - forced expiratory volume in one second; missing in 263 rows
        WEIGHT  - precision weight
        VISITN  - number of the visit
        VISITN2 - a coordinate of the visit, random
"""

_FACTORS = {
    "USUBJID": [f"PT{i}" for i in range(1, 201)],
    "AVISIT": ["VIS1", "VIS2", "VIS3", "VIS4"],
    "ARMCD": ["PBO", "TRT"],
    "RACE": ["Asian", "Black or African American", "White"],
    "SEX": ["Male", "Female"],
}


def load() -> _utils.Dataset:
    """Load the trial as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import fev
    >>> data = fev.load().data
    >>> data.groupby("ARMCD", observed=True)["FEV1"].mean().round(3).to_dict()
    {'PBO': 40.243, 'TRT': 44.45}
    """
    return _utils.load_csv(__name__, endog="FEV1", factors=_FACTORS)


load_pandas = load
