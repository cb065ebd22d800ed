"""What the places of rows tell of the parameters of a structure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import StructureWarning, UnidentifiedCovarianceError
from mixedext.specification.covariance.residual_binding import bind_residual


def rows(*groups, **more):
    """Rows of groups, each a list of visits."""
    frame = pd.DataFrame(
        [(f"g{i}", v) for i, group in enumerate(groups) for v in group], columns=["g", "v"]
    )
    return frame.assign(**more)


def refused(residual, data, text, variance=None):
    with pytest.raises(UnidentifiedCovarianceError) as caught:
        bind_residual(residual, variance, columns=data)
    assert text in str(caught.value)


FULL = [[1, 2, 3]] * 6


def test_visits_never_seen_together():
    data = rows(*[[1, 2]] * 5, *[[2, 3]] * 5)
    refused(
        "us(v | g)",
        data,
        "us(v | g): the visits 1 and 3 are never seen together in a group; the data hold "
        "no information on their covariance. toep, ar1 or ad do not need it",
    )
    data = rows(*[[1, 2]] * 5, *[[3, 4]] * 5)
    refused("us(v | g)", data, "1 and 3 are never seen together in a group (3 other pairs")
    for other in ("ar1(v | g)", "toep(v | g, bands=2)"):
        assert bind_residual(other, columns=data) is not None


def test_pairs_are_counted_in_each_level():
    data = rows(*FULL, *[[1, 2]] * 5, *[[2, 3]] * 5)
    data["arm"] = np.where(data["g"].isin([f"g{i}" for i in range(6)]), "A", "B")
    assert bind_residual("us(v | g)", columns=data) is not None
    refused(
        "us(v | g, by=arm)", data, "us(v | g, by=arm), 'B': the visits 1 and 3 are never"
    )
    data = rows(*FULL, *[[1, 2]] * 5).assign(arm=["A"] * 18 + ["B"] * 10)
    refused("us(v | g, by=arm)", data, "'B': no row has the visit 3, whose variance is a")
    data = rows(*FULL, *[[1]] * 5).assign(arm=["A"] * 18 + ["B"] * 5)
    refused("ar1(v | g, by=arm)", data, "'B': no two rows share a group")


def test_more_parameters_than_products():
    refused(
        "us(v | g)",
        rows([1, 2, 3, 4]),
        "1 groups are fewer than the 4 visits that one of them has, so that the likelihood "
        "has no maximum",
    )
    pairs = [[a, b] for a in range(1, 5) for b in range(a + 1, 5)]
    data = rows(*pairs)
    assert bind_residual("us(v | g)", columns=data) is not None  # 10 of 18


def test_fewer_groups_than_visits():
    data = rows([1, 2, 3], [1, 2, 3], [1, 2, 3], [3, 4, 1], [2, 4, 1])
    data = data[data["g"] != "g0"]
    assert bind_residual("us(v | g)", columns=data) is not None
    from itertools import combinations

    blocks = [[0, 1, 2], [0, 3, 4], [0, 5, 6], [1, 3, 5], [1, 4, 6], [2, 3, 6]]
    plane = [*blocks, [2, 4, 5]]  # each two of seven visits in one group
    assert len({p for b in plane for p in combinations(b, 2)}) == 21
    data = rows(*plane)
    assert bind_residual("us(v | g)", columns=data) is not None
    bigger = rows(*[[*b, 7] for b in plane])
    text = "36 variances and covariances of 8 visits are estimated from 7 groups, fewer"
    with pytest.warns(StructureWarning, match=text):
        bind_residual("us(v | g)", columns=bigger)


def test_neighbours_of_antedependence():
    data = rows(*[[1, 3]] * 5, [2, 4])
    refused("ad(v | g)", data, "the visits 1 and 2 follow each other in no group, nor do")
    told = rows(*[[1, 3]] * 5, *[[1, 2]] * 5)  # 2 to 3 is what 1 to 3 leaves
    assert bind_residual("ad(v | g)", columns=told) is not None
    refused("ad(v | g)", rows(*[[1, 2]] * 5, *[[3, 4]] * 5), "the visits 2 and 3 follow")


def test_lags_of_toeplitz():
    data = rows(*[[1, 2, 4]] * 5, *[[1, 2, 9]] * 5)
    refused(
        "toep(v | g)",
        data,
        "no two rows of a group are 4, 5, 6 visits apart, so that the data hold no "
        "information on that correlation. ar1 does not need it",
    )
    assert bind_residual("toep(v | g, bands=4)", columns=data).correlation.n_psi == 3
    short = data.assign(v=pd.Categorical(data["v"]))
    assert bind_residual("toep(v | g)", columns=short).correlation.m == 4


@pytest.mark.parametrize(
    ("residual", "variance", "text"),
    [
        (
            "csh(v | g)",
            "ident(v)",
            "ident(v) says nothing of the variance that csh (the",
        ),
        ("us(v | g)", "ident(v)", "ident(v) says nothing of the variance that us does not"),
        ("us(v | g)", "ident(v:arm)", "ident(v:arm) says nothing of the variance that us"),
        ("us(v | g)", "power(v)", "power(v) says nothing of the variance that us does not"),
        ("us(v | g)", "exp(v | arm)", "exp(v | arm) says nothing of the variance that us"),
        ("ar1h(v | g)", "exp(v)", "exp(v) says nothing of the variance that ar1h (the var"),
        (
            "ar1(v | g, by=arm)",
            "ident(arm)",
            "ident(arm) says nothing of the variance that",
        ),
        (None, "ident(arm) * ident(arm)", "leave one out"),
        (None, "exp(v) * exp(w)", "exp(w) says nothing of the variance that exp(v) does"),
    ],
)
def test_functions_that_say_the_same(residual, variance, text):
    data = rows(*FULL).assign(arm=["A", "B"] * 9)
    data["arm"] = np.repeat(["A", "B"], 9)
    data["w"] = 3 * data["v"] - 2
    refused(residual, data, text, variance)


@pytest.mark.parametrize(
    ("residual", "variance"),
    [
        ("us(v | g)", "ident(arm)"),
        ("us(v | g)", "power(z)"),
        ("csh(v | g, by=arm)", "exp(z)"),
        (None, "ident(arm) * power(v)"),
        (None, "power(v) * exp(v)"),
        (None, "power(fitted) * ident(arm)"),
    ],
)
def test_functions_that_say_different_things(residual, variance):
    data = rows(*FULL).assign(arm=np.repeat(["A", "B"], 9))
    data["z"] = np.random.default_rng(1).random(18) + 1
    bound = bind_residual(residual, variance, columns=data)
    assert len(bound.functions) >= 1


def test_het_and_variance_of_one_column_from_arrays():
    data = rows(*FULL)
    structure = mx.AR1(data["v"].to_numpy(), data["g"].to_numpy(), het=True)
    with pytest.raises(UnidentifiedCovarianceError, match="leave one out"):
        bind_residual(structure, mx.VarIdent(data["v"].to_numpy()))
