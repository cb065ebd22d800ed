"""The likelihood-ratio process in spectral form at extreme ratios."""

from __future__ import annotations

import numpy as np
import pytest
from mixedext.kernels.laws.spectral_supremum import Process, grid_suprema


@pytest.mark.parametrize("multiplicity", [2.0, 6.0, 7.0])
def test_penalties_of_huge_ratios_are_finite(multiplicity):
    """A product of a few factors 1 + r xi may exceed the largest double."""
    dof, ratio, rest = 20.0, 1e200, 1e-250
    out = np.empty(1)
    grid_suprema(
        Process(np.ones(1), np.ones(1), np.array([multiplicity]), dof),
        np.ones((1, 1)),
        np.array([rest]),
        np.array([0.0, ratio]),
        False,
        out,
    )
    want = dof * np.log(1.0 / (1.0 / ratio + rest)) - multiplicity * np.log(ratio)
    assert out[0] == pytest.approx(want, rel=1e-13)
