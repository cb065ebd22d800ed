"""All tests of plots: matplotlib is there, and nothing that others see has changed."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def no_state():
    """Figures of pyplot and settings are after a plot what they were before."""
    mpl = pytest.importorskip("matplotlib")
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    numbers, settings = plt.get_fignums(), dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == numbers
    assert dict(mpl.rcParams) == settings


@pytest.fixture
def without_matplotlib(monkeypatch):
    """As where matplotlib is not installed."""
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "mixedext.graphics.own_figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
