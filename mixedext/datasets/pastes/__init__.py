"""Strength of a paste by batch and cask"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Davies and Goldsmith (1972), section 6.5.

Davies, O. L. and Goldsmith, P. L. (eds) (1972). Statistical Methods in
Research and Production, 4th ed. Edinburgh: Oliver and Boyd, section 6.5.
"""

DESCRSHORT = "Strength of a paste, 2 assays from each of 3 casks of 10 batches"

DESCRLONG = """The strength of a chemical paste that is delivered in batches of
casks. Three casks were chosen at random from each of ten batches, and the sample from
each cask was assayed twice. Casks are nested in batches."""

NOTE = """::

    Number of observations - 60

    Number of variables - 4

    Variable name definitions::

        strength - strength of the paste
        batch    - batch of the delivery, A to J
        cask     - cask within the batch, a to c
        sample   - sample, the batch and the cask, A:a to J:c

The labels of ``cask`` are used anew in every batch: cask a of batch A has nothing
to do with cask a of batch B. The 30 casks are told apart by ``sample``, or by
``batch:cask``.
"""

_FACTORS = {
    "batch": list("ABCDEFGHIJ"),
    "cask": list("abc"),
    "sample": [f"{batch}:{cask}" for batch in "ABCDEFGHIJ" for cask in "abc"],
}


def load() -> _utils.Dataset:
    """Load the strengths of the paste as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import pastes
    >>> data = pastes.load().data
    >>> data["cask"].nunique(), data["sample"].nunique()
    (3, 30)
    """
    return _utils.load_csv(__name__, endog="strength", factors=_FACTORS)


load_pandas = load
