from __future__ import annotations

import numpy as np
import pytest
from helpers import correlations as definitions

from mixedext.specification.covariance.spatial import KINDS, Spatial

RANGES = [1e-3, 0.1, 1.0, 30.0, 1e3]


@pytest.mark.parametrize("nugget", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_definition_and_derivatives(kind, nugget):
    rng = np.random.default_rng(KINDS.index(kind))
    distance = definitions.distances(rng, 3, 5)
    for scale in (1.0, 3.0):
        own, definition = Spatial(kind, nugget, scale), definitions.spatial(kind, scale)
        for log_range in (-0.7, 0.1, 1.4):
            psi = [log_range, -0.6][: own.n_psi]
            # no distance near the range: spherical and linear have no derivative there
            size = scale * np.exp(log_range)
            if kind in ("spher", "lin"):
                assert np.abs(distance / size - 1).min() > 6e-3
            definitions.check_correlation(own, definition, psi, distance, rng, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_definite_at_all_ranges(kind):
    """Ranges of 1e-3 to 1e3 of the spacing, with a nugget where rounding asks for one."""
    rng = np.random.default_rng(1)
    distance = np.concatenate(
        [
            definitions.distances(rng, 4, 8, 1),
            np.abs(np.subtract.outer(*[np.arange(8.0)] * 2))[None],
        ]
    )
    for size in RANGES:
        rough = kind in ("exp", "pow", "spher", "lin")
        for nugget in (1e-6, 0.3, 1 - 1e-6):
            own = Spatial(kind, True)
            psi = [np.log(size), np.log(nugget / (1 - nugget))]
            assert definitions.is_definite(own.matrix(psi, distance))
        if rough or size <= 1:
            own = Spatial(kind)
            matrix = own.matrix([np.log(size)], distance[-1:])
            assert definitions.is_definite(matrix)


@pytest.mark.parametrize("nugget", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_psi_without_end(kind, nugget):
    """Nothing overflows, and nothing is NaN, however far psi runs."""
    rng = np.random.default_rng(2)
    distance, own = definitions.distances(rng, 2, 4), Spatial(kind, nugget)
    score, weight = definitions.symmetric(rng, 2, 4, 4), np.eye(own.n_psi)
    for far in (-800.0, -100.0, -40.0, 40.0, 100.0, 800.0):
        psi = np.full(own.n_psi, far)
        assert np.isfinite(own.matrix(psi, distance)).all()
        assert np.isfinite(own.tangent(psi, distance)).all()
        assert np.isfinite(own.bend(psi, distance, score)).all()
        assert np.isfinite(own.jacobian(psi)).all()
        if kind != "pow" and abs(far) < 100:
            assert np.isfinite(own.curve(psi, distance, weight)).all()


def test_range_goes_with_the_unit_of_distance():
    rng = np.random.default_rng(3)
    distance = definitions.distances(rng, 2, 4)
    for kind in KINDS[:-1]:
        own = Spatial(kind)
        first = own.matrix(own.free([0.8]), distance)
        np.testing.assert_allclose(own.matrix(own.free([800.0]), 1e3 * distance), first)
        # and the scale with it: the same psi
        other = Spatial(kind, scale=1e3)
        np.testing.assert_allclose(
            other.matrix([0.4], 1e3 * distance), own.matrix([0.4], distance), rtol=1e-12
        )


def test_rows_at_one_place():
    """With a nugget their correlation is 1 - nugget."""
    own = Spatial("gau", True)
    matrix = own.matrix(own.free([1.0, 0.25]), np.zeros((1, 2, 2)))
    np.testing.assert_allclose(matrix[0], [[1, 0.75], [0.75, 1]])


def test_rho_that_is_zero_to_rounding():
    own = Spatial("pow")
    distance = np.array([[[0.0, 1e-3], [1e-3, 0.0]]])
    psi = [np.log(1e-3)]
    np.testing.assert_allclose(own.matrix(psi, distance)[0, 0, 1], np.exp(-1))
    with pytest.raises(ValueError, match=r"at distance 1 is exp\(-1e\+03\), zero"):
        own.curve(psi, distance, np.eye(1))


@pytest.mark.parametrize("nugget", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_starts_at_exact_moments(kind, nugget):
    own = Spatial(kind, nugget)
    distance = np.linspace(0.2, 5, 20)
    size, part = 1.7, 0.3 if nugget else 0.0
    shape = definitions.SHAPES["exp" if kind == "pow" else kind]
    r, pairs = (1 - part) * shape(distance / size), np.full(20, 50.0)
    r[3], pairs[3] = np.nan, 0
    psi = own.starts(r, pairs, distance)
    np.testing.assert_allclose(np.exp(psi[0][0]), size, rtol=0.1)
    if nugget:
        np.testing.assert_allclose(own.natural(psi[0])[1], part, atol=0.05)
    # the second is nearly independent, the third wide
    near = shape(distance[0] / np.exp(psi[1][0]))
    assert 0.02 < near < 0.06
    np.testing.assert_allclose(np.exp(psi[2][0]), 2.5)


def test_starts_without_pairs():
    own = Spatial("exp", True, scale=2.0)
    (psi,) = own.starts(np.full(4, np.nan), np.zeros(4), np.zeros(4))
    np.testing.assert_allclose(own.natural(psi), [2.0, 0.2])


def test_at_limit():
    own = Spatial("exp", True, 1.0, shortest=0.5, longest=10.0)
    assert own.at_limit([0.0, 0.0]) == []
    assert own.at_limit([np.log(1e5), 0.0]) == []
    assert own.at_limit([-4.0, 12.0]) == [(0, "range", 0.0), (1, "nugget", 1.0)]
    # beside correlations near one a nugget is small by what these leave: 10 exp(-15)
    assert own.at_limit([15.0, -12.0]) == [(0, "range", np.inf)]
    assert own.at_limit([15.0, -26.0]) == [(0, "range", np.inf), (1, "nugget", 0.0)]
    assert Spatial("gau", True).at_limit([15.0, -12.0])[1:] == [(1, "nugget", 0.0)]
    assert Spatial("pow").at_limit([-4.0]) == [(0, "rho", 0.0)]
    assert Spatial("pow").at_limit([15.0]) == [(0, "rho", 1.0)]
    # all that is nearer than the shortest distance is alike
    assert Spatial("spher").at_limit([-0.1]) == [(0, "range", 0.0)]


def test_errors():
    with pytest.raises(ValueError, match="kind = 'matern' is none of exp, gau, spher, lin"):
        Spatial("matern")
    for name in ("scale", "shortest", "longest"):
        with pytest.raises(ValueError, match=f"{name} = 0 is not a positive distance"):
            Spatial("exp", **{name: 0.0})
    with pytest.raises(ValueError, match="range = -1 is not positive"):
        Spatial("exp").free([-1.0])
    with pytest.raises(ValueError, match="rho = 1 is not between 0 and 1"):
        Spatial("pow").free([1.0])
    with pytest.raises(ValueError, match="nugget = 1 is not between 0 and 1"):
        Spatial("exp", True).free([1.0, 1.0])
    with pytest.raises(ValueError, match="need them: distance"):
        Spatial("exp").starts(np.ones(3), np.ones(3))


def test_what_it_is():
    assert Spatial("exp").names == ("range",)
    assert Spatial("exp", True).names == ("range", "nugget")
    assert Spatial("pow", True).names == ("rho", "nugget")
    assert not Spatial("exp").over_visits
    assert not Spatial("exp").linear_if_homogeneous


@pytest.mark.parametrize("nugget", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_which_are_chains_on_a_line(kind, nugget):
    own = Spatial(kind, nugget)
    assert own.is_chain == (kind in ("exp", "pow") and not nugget)


@pytest.mark.parametrize("kind", ["exp", "pow", "spher", "lin"])
def test_far_out_variances_of_differences_stay(kind):
    """sigma^2 (1 - C) tends to nugget + slope d, whatever the range."""
    own = Spatial(kind, True, 2.0, shortest=0.5, longest=10.0)
    place = np.abs(np.subtract.outer(*[np.array([0.0, 1.0, 4.0, 10.0])] * 2))[None]
    psi = own.free([0.9999 if kind == "pow" else 1e4, 2e-4])
    end = own.far_end(psi, 1e-6)
    assert end.number == 0
    one, other = 1 - own.matrix(psi, place), 1 - own.matrix(end.psi, place)
    np.testing.assert_allclose(other * end.growth, one, rtol=2e-3, atol=1e-14)
    again = own.far_end(end.psi, 1e-6)
    np.testing.assert_allclose(again.psi, end.psi, rtol=1e-12)
    np.testing.assert_allclose(again.growth, 1.0)
    limit = own.at_limit(end.psi)[0]
    assert "linear" in own.note_on(limit)
    assert own.far_end(own.free([0.5 if kind == "pow" else 20.0, 0.1]), 1e-6) is None
    assert Spatial("gau", True).far_end([20.0, -20.0], 1e-6) is None
