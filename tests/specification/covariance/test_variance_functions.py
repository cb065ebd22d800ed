from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.correlations import first_derivative, second_derivative

from mixedext.specification.covariance.variance_functions import (
    VarConstPower,
    VarExp,
    VarFixed,
    VarianceFunction,
    VarIdent,
    VarPower,
)


def sd(function, eta, strata, v):
    """Standard deviations by natural parameters, as in Pinheiro and Bates (2000)."""
    n = getattr(function, "n_strata", 1)
    match function:
        case VarIdent():
            return np.concatenate([[1.0], eta])[strata]
        case VarPower():
            return np.abs(v) ** eta[strata]
        case VarExp():
            return np.exp(eta[strata] * v)
        case VarConstPower():
            return eta[:n][strata] + np.abs(v) ** eta[n:][strata]
        case VarFixed():
            return np.sqrt(np.abs(v)) + 0 * np.sum(eta)


def natural(function, psi):
    match function:
        case VarIdent():
            return np.exp(psi)
        case VarConstPower():
            n = function.n_strata
            return np.concatenate([np.exp(psi[:n]), psi[n:]])
        case _:
            return psi.copy()


ALL = [
    VarIdent(1),
    VarIdent(2),
    VarIdent(5),
    VarPower(),
    VarPower(3),
    VarExp(),
    VarExp(3),
    VarConstPower(),
    VarConstPower(3),
    VarFixed(),
]


def rows(function, rng, shape=(6, 4)):
    strata = rng.integers(0, getattr(function, "n_strata", 1), shape)
    v = rng.normal(size=shape) * 3
    return strata, v if function.uses_covariate else None


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_definition_and_derivatives(own):
    rng = np.random.default_rng(own.n_psi)
    strata, v = rows(own, rng)
    psi = rng.normal(size=own.n_psi) * 0.8
    exact = {"rtol": 1e-11, "atol": 1e-12}

    def log_sd(x):
        return np.log(sd(own, natural(own, x), strata, v))

    value = own.log_sd(psi, strata, v)
    assert value.shape == strata.shape
    np.testing.assert_allclose(value, log_sd(psi), **exact)
    slope = own.slope(psi, strata, v)
    assert slope.shape == (own.n_psi, *strata.shape)
    second, whole = own.second(psi, strata, v), (own.n_psi, own.n_psi, *strata.shape)
    if own.n_psi:
        np.testing.assert_allclose(slope, first_derivative(log_sd, psi), **exact)
        expected = second_derivative(log_sd, psi)
        given = np.zeros(whole) if second is None else second
        np.testing.assert_allclose(given, expected, rtol=1e-9, atol=1e-9)
        assert given.shape == whole
        jacobian = first_derivative(lambda x: natural(own, x), psi).T
        np.testing.assert_allclose(own.jacobian(psi), jacobian, **exact)
    assert own.jacobian(psi).shape == (own.n_psi, own.n_psi)


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_natural_parameters_there_and_back(own):
    psi = np.random.default_rng(1).normal(size=own.n_psi)
    eta = own.natural(psi)
    np.testing.assert_allclose(eta, natural(own, psi))
    np.testing.assert_allclose(own.free(eta), psi, rtol=1e-12, atol=1e-14)
    assert not np.shares_memory(eta, psi)


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_start_of_exact_residuals(own):
    """log r^2 = a + 2 log sd gives the parameters, but for a constant beside a power."""
    rng = np.random.default_rng(2)
    n = getattr(own, "n_strata", 1)
    strata = np.concatenate([np.repeat(np.arange(n), 3), rng.integers(0, n, 60)])
    v = rng.uniform(0.5, 4, len(strata)) if own.uses_covariate else None
    psi = rng.normal(size=own.n_psi)
    log_square = 1.3 + 2 * own.log_sd(psi, strata, v)
    log_square[::7] = -np.inf
    start = own.start(log_square, strata, v)
    assert start.shape == (own.n_psi,)
    if not isinstance(own, VarConstPower):
        np.testing.assert_allclose(start, psi, rtol=1e-9, atol=1e-9)


def test_start_beside_a_constant():
    rng = np.random.default_rng(3)
    own, v = VarConstPower(), rng.uniform(0, 50, 400)
    v[:3] = 0
    strata = np.zeros(400, dtype=int)
    psi = np.array([np.log(0.01), 1.5])
    start = own.start(2 * own.log_sd(psi, strata, v), strata, v)
    np.testing.assert_allclose(start[1], 1.5, atol=0.1)
    assert np.isfinite(own.log_sd(start, strata, v)).all()


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_start_of_nothing(own):
    strata = np.zeros(3, dtype=int)
    v = np.zeros(3) if isinstance(own, VarConstPower) else np.ones(3)
    start = own.start(np.full(3, -np.inf), strata, v if own.uses_covariate else None)
    assert np.isfinite(start).all()


def test_constant_and_power_where_the_covariate_is_zero():
    own, strata, v = VarConstPower(), np.zeros(2, dtype=int), np.array([0.0, 2.0])
    psi = np.array([np.log(0.3), 1.2])
    np.testing.assert_allclose(np.exp(own.log_sd(psi, strata, v)), [0.3, 0.3 + 2**1.2])
    np.testing.assert_allclose(own.slope(psi, strata, v)[:, 0], [1.0, 0.0])
    np.testing.assert_array_equal(own.second(psi, strata, v)[..., 0], np.zeros((2, 2)))
    # 0^0 = 1
    psi = np.array([np.log(0.3), 0.0])
    np.testing.assert_allclose(np.exp(own.log_sd(psi, strata, v)), [1.3, 1.3])


def test_ratios_without_end():
    own, strata = VarIdent(3), np.array([0, 1, 2])
    psi = np.log([1e4, 1e-4])
    np.testing.assert_allclose(np.exp(own.log_sd(psi, strata, None)), [1, 1e4, 1e-4])
    assert own.at_limit(psi) == []
    assert own.at_limit([-20.0, 20.0]) == [
        (0, "sd(2) ratio", 0.0),
        (1, "sd(3) ratio", np.inf),
    ]


def test_at_limit():
    assert VarConstPower(2).at_limit([-20.0, 30.0, 1.0, 1.0]) == [(0, "const 1", 0.0)]
    assert VarConstPower().at_limit([-20.0, 1.0]) == [(0, "const", 0.0)]
    assert VarPower().at_limit([40.0]) == VarFixed().at_limit([]) == []


def test_names():
    assert VarIdent(3).names(["a", "b", "c"]) == ("sd(b) ratio", "sd(c) ratio")
    assert VarPower().names([]) == ("power",)
    assert VarPower(2).names(["a", "b"]) == ("power a", "power b")
    assert VarExp(2).names(["a", "b"]) == ("exp a", "exp b")
    assert VarConstPower().names([]) == ("const", "power")
    assert VarConstPower(2).names(["a", "b"]) == (
        "const a",
        "const b",
        "power a",
        "power b",
    )
    assert VarFixed().names([]) == ()


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_pickled_and_compared(own):
    again = pickle.loads(pickle.dumps(own))
    assert isinstance(own, VarianceFunction)
    assert again == own
    assert len(own.names(list("abcde"[: getattr(own, "n_strata", 1)]))) == own.n_psi


def test_errors():
    for kind in (VarIdent, VarPower, VarExp, VarConstPower):
        with pytest.raises(ValueError, match="n_strata = 0 is not positive"):
            kind(0)
    with pytest.raises(
        ValueError, match="a ratio of standard deviations is 0, not positive"
    ):
        VarIdent(2).free([0.0])
    with pytest.raises(ValueError, match="const is -1, not positive"):
        VarConstPower().free([-1.0, 1.0])
    with pytest.raises(ValueError, match=r"are 1 numbers, not of shape \(2,\)"):
        VarPower().free([1.0, 2.0])
    with pytest.raises(ValueError, match="not all finite"):
        VarExp().free([np.inf])
    with pytest.raises(
        ValueError, match="covariate = None, but the variance function asks"
    ):
        VarExp().log_sd([0.1], np.zeros(2, dtype=int), None)
    for own in (VarPower(), VarFixed()):
        with pytest.raises(ValueError, match="covariate is 0 in some row"):
            own.log_sd(np.ones(own.n_psi), np.zeros(2, dtype=int), np.array([0.0, 1.0]))
