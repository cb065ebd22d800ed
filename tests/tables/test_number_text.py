"""Degrees of freedom and p-values as text."""

from __future__ import annotations

import numpy as np

from mixedext.tables.number_text import df_texts, p_texts


def test_degrees_of_freedom_share_their_decimals():
    assert df_texts([4.0000000001, 45, np.nan]) == ["4", "45", ""]
    assert df_texts([4.0, 16.0821]) == ["4.00", "16.08"]
    assert df_texts([np.inf, 7]) == ["inf", "7"]
    assert df_texts([]) == []


def test_small_p_values_are_bounded():
    assert p_texts([0.04999, 1e-4, 9.9e-5, np.nan]) == ["0.0500", "0.0001", "<.0001", ""]
