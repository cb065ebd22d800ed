from __future__ import annotations

import numpy as np
import pytest

from mixedext.kernels import reference
from mixedext.kernels.covariance import autocorrelations

TIGHT = {"rtol": 1e-12, "atol": 1e-13}


def table(rng, p, n):
    """Numbers of no meaning, second derivatives symmetric."""
    second = rng.normal(size=(p, p, n))
    return rng.normal(size=n), rng.normal(size=(p, n)), second + second.transpose(1, 0, 2)


def emptied(size, n, order):
    first, second = (size if order > 0 else 0), (size if order > 1 else 0)
    return np.empty(n), np.empty((first, n)), np.empty((second, second, n))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(("p", "n"), [(0, 3), (1, 7), (2, 3), (2, 9), (4, 12)])
def test_extend_autoregression(p, n, order):
    rng = np.random.default_rng(p)
    phi, start = rng.normal(size=p) / 2, table(rng, p, p + 1)
    expected = reference.extend_autoregression(phi, *start, n)
    out = emptied(p, n, order)
    for whole, known in zip(out[: order + 1], start, strict=False):
        whole[..., : p + 1] = known
    autocorrelations.extend_autoregression(phi, order, *out)
    for own, twin in zip(out[: order + 1], expected, strict=False):
        np.testing.assert_allclose(own, twin, **TIGHT)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("sizes", [(0, 1, 1), (0, 2, 6), (1, 1, 9), (3, 2, 7), (1, 4, 2)])
def test_add_moving_average(sizes, order):
    p, q, n = sizes
    rng = np.random.default_rng(p + q)
    ma, own = rng.normal(size=q) / 2, table(rng, p, n + q)
    own[0][0] = 3.0  # c_0 is not near zero
    expected = reference.add_moving_average(ma, *own, n)
    out = emptied(p + q, n, order)
    autocorrelations.add_moving_average(ma, order, *own, *out)
    for result, twin in zip(out[: order + 1], expected, strict=False):
        np.testing.assert_allclose(result, twin, **TIGHT)
