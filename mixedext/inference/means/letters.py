"""Letters of a compact display: estimates share one if and only if they do not differ.

Numbers only: which pairs differ, and in what order the estimates stand.
"""

from __future__ import annotations

import string

import numpy as np

__all__ = ["insert_and_absorb", "letter_texts"]

_LETTERS = string.ascii_lowercase + string.ascii_uppercase


def insert_and_absorb(differs: np.ndarray) -> np.ndarray:
    """The columns of a letter display, by Piepho's insertion and absorption.

    Parameters
    ----------
    differs : ndarray
        Whether two estimates differ, symmetric, (k, k) bool.

    Returns
    -------
    ndarray
        One column a letter, (k, m) bool: the largest sets of estimates of which no two
        differ, by their first members in the order given.

    References
    ----------
    Piepho (2004), An algorithm for a letter-based representation of all-pairwise
    comparisons, Journal of Computational and Graphical Statistics 13, 456-466.

    Examples
    --------
    >>> import numpy as np
    >>> differs = np.zeros((3, 3), bool)
    >>> differs[0, 2] = differs[2, 0] = True
    >>> insert_and_absorb(differs).astype(int).tolist()
    [[1, 0], [1, 1], [0, 1]]
    """
    count = len(differs)
    # a column is a whole number, whose bits are its members
    columns = [(1 << count) - 1] if count else []
    for i, j in zip(*np.nonzero(np.triu(differs, 1)), strict=True):
        one, other = 1 << int(i), 1 << int(j)
        split = [c for c in columns if c & one and c & other]
        if not split:
            continue
        columns = [c for c in columns if not (c & one and c & other)]
        for (
            column
        ) in split:  # insertion of two in its place, absorption of what others hold
            for new in (column & ~one, column & ~other):
                if not any(new & c == new for c in columns):
                    columns = [c for c in columns if c & new != c] + [new]
    members = [[i for i in range(count) if c >> i & 1] for c in columns]
    out = np.zeros((count, len(columns)), bool)
    for number, own in enumerate(sorted(members)):
        out[own, number] = True
    return out


def letter_texts(columns: np.ndarray) -> list[str]:
    """The letters of each estimate; past ``Z`` they go on with ``a1``.

    Parameters
    ----------
    columns : ndarray
        Of ``insert_and_absorb``, (k, m) bool.
    """
    rounds, places = np.divmod(np.arange(columns.shape[1]), len(_LETTERS))
    names = [
        _LETTERS[place] + (str(turn) if turn else "")
        for turn, place in zip(rounds, places, strict=True)
    ]
    return ["".join(n for n, has in zip(names, row, strict=True) if has) for row in columns]
