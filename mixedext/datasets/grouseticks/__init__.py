"""Ticks on red grouse chicks"""

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """Elston et al. (2001), Parasitology 122, 563-569.

Elston, D. A., Moss, R., Boulinier, T., Arrowsmith, C. and Lambin, X. (2001). Analysis of
aggregation, a worked example: numbers of ticks on red grouse chicks. Parasitology 122,
563-569.

Also grouseticks of the R package lme4.
"""

DESCRSHORT = "Ticks on 403 chicks of 118 broods at 63 places"

DESCRLONG = """Numbers of ticks on the heads of red grouse chicks, which are nested in
broods and these in places, over three years. The classic example of counts that vary
more than Poisson's law allows."""

NOTE = """::

    Number of observations - 403

    Number of variables - 7

    Variable name definitions::

        INDEX      - chick, 403 levels
        TICKS      - number of ticks
        BROOD      - brood, 118 levels
        HEIGHT     - height above sea level (m)
        YEAR       - year, 95 to 97
        LOCATION   - place, 63 levels
        cHEIGHT    - height less the mean of all chicks

A chick is a row, so that ``(1 | INDEX)`` is an observation-level term.
"""

_BROODS = """
501 502 503 504 505 506 507 509 510 511 512 513 514 515 516 517 518 519 520 521 522
523 525 526 528 531 533 535 537 538 539 540 542 548 549 550 553 559 601 602 603 604
605 606 607 608 609 610 611 612 614 615 616 617 618 621 623 624 625 626 628 629 630
631 632 634 635 636 638 640 641 642 643 645 647 648 650 651 652 701 702 704 705 706
708 709 710 711 712 713 714 715 716 717 718 719 720 721 722 723 724 725 727 728 729
730 731 732 733 734 736 737 738 739 740 741 742 743
"""
_FACTORS = {
    "INDEX": [f"{i}" for i in range(1, 404)],
    "BROOD": _BROODS.split(),
    "YEAR": ["95", "96", "97"],
    "LOCATION": [f"{i}" for i in range(1, 64)],
}


def load() -> _utils.Dataset:
    """Load the counts of ticks as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import grouseticks
    >>> grouseticks.load().data.shape
    (403, 7)
    """
    return _utils.load_csv(__name__, endog="TICKS", factors=_FACTORS)


load_pandas = load
