"""Objects as stated become those that compute, with values to start from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import DesignError
from mixedext.specification.covariance import arma, autoregressive, spatial, toeplitz
from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.residual_binding import bind_residual
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits


@pytest.fixture
def data():
    """Three of four visits of eight groups."""
    frame = pd.DataFrame({"g": np.repeat(range(8), 4), "v": np.tile([1, 2, 3, 4], 8)})
    return frame[(frame["g"] + frame["v"]) % 4 > 0].assign(arm=lambda d: d["g"] % 2)


MADE = {
    "us(v | g)": UnstructuredVisits(4),
    "cs(v | g)": CompoundSymmetry(3),
    "cs(1 | g)": CompoundSymmetry(3),
    "ar1(v | g)": autoregressive.AutoRegressive(),
    "arma(v | g, p=1, q=2)": arma.ARMA(1, 2),
    "toep(v | g)": toeplitz.Toeplitz(4),
    "toep(1 | g)": toeplitz.Toeplitz(3),
    "toep(v | g, bands=2)": toeplitz.Toeplitz(4, 2),
    "ad(v | g)": Antedependence(4),
}


@pytest.mark.parametrize("text", MADE)
def test_over_visits(text, data):
    assert bind_residual(text, columns=data).correlation == MADE[text]


def test_distances_have_their_scale(data):
    data["x"] = 2.0 * data["v"]
    found = bind_residual("sp_exp(x | g)", columns=data).correlation
    pairs = [
        abs(a - b)
        for _, own in data.groupby("g")["x"]
        for i, a in enumerate(own)
        for b in own.iloc[i + 1 :]
    ]
    assert isinstance(found, spatial.Spatial)
    assert found.scale == pytest.approx(np.mean(pairs), rel=1e-14)
    assert (found.shortest, found.longest) == (2.0, 6.0)
    other = bind_residual("car1(x | g)", columns=data).correlation
    assert isinstance(other, autoregressive.ContinuousAR1)
    assert (other.scale, other.longest) == (found.scale, 6.0)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_distances(metric):
    rng = np.random.default_rng(2)
    data = pd.DataFrame(rng.random((7, 2)), columns=["x", "y"])
    given = mx.Spatial("gau", ["x", "y"], metric=metric)
    (batch,) = bind_residual(given, columns=data).batches
    gap = data.to_numpy()[:, None] - data.to_numpy()
    expected = np.abs(gap).sum(2) if metric == "manhattan" else np.sqrt((gap**2).sum(2))
    np.testing.assert_allclose(batch.place[0], expected, rtol=1e-14)
    assert batch.rows.tolist() == [list(range(7))]


STARTS = [
    (mx.AR1("v", "g", rho=0.5), {"rho": 0.5}, ()),
    (mx.AR1("v", "g", rho=0.5, fixed=True), {"rho": 0.5}, ("rho",)),
    (
        mx.CS("v", "g", by="arm", rho=0.2, fixed=True),
        {"0: rho": 0.2, "1: rho": 0.2},
        ("0: rho", "1: rho"),
    ),
    (mx.ARMA("v", "g", p=1, q=1, ar=0.4), {"ar 1": 0.4}, ()),
    (mx.ARMA("v", "g", p=1, q=1, ar=0.4, ma=0.1), {"ar 1": 0.4, "ma 1": 0.1}, ()),
    (
        mx.Toeplitz("v", "g", rho=[0.3, 0.2, 0.1]),
        {"rho 1": 0.3, "rho 2": 0.2, "rho 3": 0.1},
        (),
    ),
    (mx.Spatial("exp", "v", "g", range=2, nugget=0.1), {"range": 2.0, "nugget": 0.1}, ()),
    (mx.Spatial("pow", "v", "g", rho=0.3), {"rho": 0.3}, ()),
    (mx.Unstructured("v", "g"), None, ()),
    (
        mx.AR1("v", "g", het=True, start={"sd(2) ratio": 1.5, "rho": 0.1}, fixed=True),
        {"sd(2) ratio": 1.5, "rho": 0.1},
        ("sd(2) ratio", "rho"),
    ),
    (
        mx.AR1("v", "g", by="arm", rho=0.3, start={"1: rho": 0.5, "sd(1) ratio": 2}),
        {"0: rho": 0.3, "1: rho": 0.5, "sd(1) ratio": 2.0},
        (),
    ),
]


@pytest.mark.parametrize(("structure", "start", "held"), STARTS, ids=lambda v: str(v))
def test_starts(structure, start, held, data):
    bound = bind_residual(structure, columns=data)
    assert bound.start == start
    assert bound.held == held
    assert set(start or ()) <= set(bound.names)


def test_a_matrix_to_start_from(data):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 6))
    sigma = root @ root.T
    bound = bind_residual(mx.Unstructured("v", "g", start=sigma), columns=data)
    psi = bound.correlation.free([bound.start[name] for name in bound.names])
    place = np.arange(4)[None]
    np.testing.assert_allclose(
        bound.correlation.matrix(psi, place)[0], sigma / sigma[0, 0], rtol=1e-12
    )
    mixed = pd.DataFrame(sigma, [1, 2, 3, 4], [1, 2, 3, 4]).loc[[3, 1, 2, 4], [2, 1, 4, 3]]
    given = mx.Unstructured("v", "g", start=mixed, fixed=True)
    again = bind_residual(given, columns=data)
    assert again.start == bound.start
    assert again.held == bound.names


NO_MATRIX = [
    (np.eye(3), r"start has shape \(3, 3\); expected \(4, 4\)"),
    (np.ones((4, 4)), "start is no covariance matrix: it must be definite"),
    (np.triu(np.ones((4, 4))), "start is no covariance matrix"),
    (pd.DataFrame(np.eye(3), [1, 2, 3], [1, 2, 3]), "start has no row and column 4"),
]


@pytest.mark.parametrize(("start", "text"), NO_MATRIX, ids=[t for _, t in NO_MATRIX])
def test_what_is_no_matrix_to_start_from(start, text, data):
    with pytest.raises(ValueError, match=text):
        bind_residual(mx.Unstructured("v", "g", start=start), columns=data)


REFUSED = [
    (
        mx.AR1("v", "g", start={"rh": 0.5}),
        "start has 'rh', which is no parameter; they are",
    ),
    (mx.AR1("v", "g", start={"rho": 1.5}), "not between -1 and 1"),
    (mx.CS("v", "g", rho=-0.6), "rho"),
    (mx.Toeplitz("v", "g", rho=[0.3, 0.2]), "rho has 2 values; expected 3, rho 1 to rho 3"),
    (mx.Toeplitz("v", "g", rho=[0.99, -0.99, 0]), "toep"),
    (mx.ARMA("v", "g", p=1, ar=1.5), "arma"),
    (mx.Antedependence("v", "g", rho=[0.1, 0.2, 1.5]), "not between -1 and 1"),
]


@pytest.mark.parametrize(("structure", "text"), REFUSED, ids=lambda v: str(v))
def test_starts_out_of_range(structure, text, data):
    with pytest.raises(ValueError, match=text):
        bind_residual(structure, columns=data)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("toep(v | g, bands=5)", "bands=5 counts the diagonal, and 4 visits have no more"),
        ("arma(v | g, p=2, q=2)", "has 4 parameters, and 4 visits have 3 lags"),
    ],
)
def test_too_few_visits(text, told, data):
    with pytest.raises(DesignError, match=told):
        bind_residual(text, columns=data)
