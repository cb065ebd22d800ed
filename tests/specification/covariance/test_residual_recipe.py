"""Places of new rows under a residual structure, and what is said of unknown ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.residual_binding import bind_stated
from mixedext.specification.covariance.residual_columns import stated_residual
from mixedext.specification.covariance.residual_recipe import own_places, residual_recipe
from mixedext.specification.data.known_levels import MISSING, UNKNOWN


def recipe_of(residual, variance=None, data=None):
    data = frame() if data is None else data
    stated = stated_residual(residual, variance, lambda v, *_: data[v], list(data))
    bound = bind_stated(stated, len(data))
    return residual_recipe(bound, stated), bound, stated


def frame():
    """Four groups at visits 1, 3, 5, 9; in two arms."""
    g = np.repeat(["a", "b", "c", "d"], 4)
    return pd.DataFrame(
        {
            "g": g,
            "visit": np.tile([1, 3, 5, 9], 4),
            "text": np.tile(["V1", "V2", "V3", "V10"], 4),
            "arm": np.where(np.isin(g, ["a", "c"]), "x", "y"),
            "sex": np.tile(list("fmmfffmm"), 2),
            "dose": np.tile([1.0, 2.0, 2.0, 1.0], 4),
            "time": np.arange(16) / 4,
            "size": np.linspace(1, 2, 16),
        }
    )


def new(**columns):
    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    "residual",
    ["ar1h(visit | g)", "us(visit | g)", "cs(1 | g)", "ar1(visit | g, by=arm)",
     "sp_exp(time, size | g)", "ar1(1 | g)", "csh(visit | g, by=arm)"],
)  # fmt: skip
def test_rows_of_the_fit_as_new_ones(residual):
    """What their columns say is where they stand."""
    variance = "power(size)" if "csh" in residual else "ident(sex) * power(size)"
    recipe, bound, stated = recipe_of(residual, variance)
    own = own_places(bound, stated)
    assert len(own) == 16
    if residual == "ar1(1 | g)":
        assert own.visits.tolist() == [0, 1, 2, 3] * 4
        with pytest.raises(ValueError, match=r"by their order, .* name a column of visits"):
            recipe.places(frame(), 16)
        return
    found = recipe.places(frame(), 16)
    np.testing.assert_array_equal(found.group, own.group)
    np.testing.assert_array_equal(found.level, own.level)
    if residual != "cs(1 | g)":  # any row is as another
        assert (found.visits is None) == (own.visits is None)
        if own.visits is not None:
            np.testing.assert_array_equal(found.visits, own.visits)
    assert not found.missing.any()
    for a, b in zip(found.coordinates, own.coordinates, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(found.strata, own.strata, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            np.testing.assert_array_equal(a, b)
    for a, b in zip(found.covariates, own.covariates, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            np.testing.assert_array_equal(a, b)
    some = found.take(np.array([3, 1]))
    assert some.group.tolist() == [0, 0]
    assert len(some) == 2


def test_visits_beyond_those_of_the_fit():
    recipe, _, _ = recipe_of("ar1(visit | g)")
    at = new(g=["a"] * 4, visit=[-1, 7, 9, 15])
    assert recipe.places(at, 4).visits.tolist() == [-1, 3, 4, 7]
    with pytest.raises(ValueError, match=r"exog has 'visit' = '4', a visit that the fit"):
        recipe.places(new(g=["a"], visit=[4]), 1)
    # not those of a correlation by lag that the fit had not, nor of unordered visits
    full, _, _ = recipe_of("toep(visit | g)")
    assert full.places(new(g=["a"], visit=[7]), 1).visits.tolist() == [3]
    with pytest.raises(ValueError, match="'11', a visit that the fit had not"):
        full.places(new(g=["a"], visit=[11]), 1)
    banded, _, _ = recipe_of("toep(visit | g, bands=2)")
    assert banded.places(new(g=["a"], visit=[11]), 1).visits.tolist() == [5]
    us, _, _ = recipe_of("us(visit | g)")
    with pytest.raises(ValueError, match="'7', a visit that the fit had not"):
        us.places(new(g=["a"], visit=[7]), 1)


def test_labels_of_visits():
    ordered = frame()
    ordered["text"] = pd.Categorical(
        ordered["text"], ["V1", "V2", "V3", "V10"], ordered=True
    )
    recipe, _, _ = recipe_of("ar1(text | g)", data=ordered)
    assert recipe.places(new(g=["a", "z"], text=["V10", "V1"]), 2).visits.tolist() == [3, 0]
    with pytest.raises(ValueError, match="'V4', a visit that the fit had not"):
        recipe.places(new(g=["a"], text=["V4"]), 1)
    # where it says nothing of a row, a visit may be any
    assert recipe.places(new(g=["z"], text=["V4"]), 1).group.tolist() == [UNKNOWN]
    # numbers that were whole floats
    floats = frame().assign(visit=frame()["visit"].astype(float))
    recipe, _, _ = recipe_of("us(visit | g)", data=floats)
    assert recipe.places(new(g=["a"], visit=[3]), 1).visits.tolist() == [1]


def test_exchangeable_visits():
    recipe, _, _ = recipe_of("cs(visit | g)")
    found = recipe.places(new(g=["a"] * 3, visit=[9, 77, 77]), 3)
    known, *others = found.visits.tolist()
    assert known == 3
    assert others[0] == others[1] > 3
    het, _, _ = recipe_of("csh(visit | g)")
    with pytest.raises(ValueError, match="'77', a visit that the fit had not"):
        het.places(new(g=["a"], visit=[77]), 1)


def test_standard_deviations_alone_ask_for_less():
    recipe, _, _ = recipe_of("ar1(visit | g)")
    assert recipe.places(None, 3, with_groups=False).visits is None
    recipe, _, _ = recipe_of("ar1h(visit | g)")
    found = recipe.places(new(visit=[5, 1]), 2, with_groups=False)
    assert found.strata[0].tolist() == [2, 0]
    with pytest.raises(ValueError, match="at a visit of which the fit had no row"):
        recipe.places(new(visit=[7]), 1, with_groups=False)
    recipe, _, _ = recipe_of("us(visit | g)", "power(size)")
    with pytest.raises(
        FormulaError, match=r"no column 'size', which variance=power\(size\)"
    ):
        recipe.places(new(visit=[1]), 1, with_groups=False)
    recipe, _, _ = recipe_of("ar1(visit | g, by=arm)")
    found = recipe.places(new(arm=["y", "x"]), 2, with_groups=False)
    assert found.strata[0].tolist() == [1, 0]
    independent, _, _ = recipe_of(None, "ident(sex)")
    assert not independent.correlates
    assert independent.places(new(sex=["m"]), 1).strata[0].tolist() == [1]


def test_groups_and_levels():
    recipe, _, _ = recipe_of("ar1(visit | g, by=arm)")
    found = recipe.places(new(g=["a", "b"], visit=[1, 1]), 2)  # arms are known of these
    assert found.level.tolist() == [0, 1]
    at = new(g=["d", "z", None], visit=[1, 3, 5], arm=["y", "x", "x"])
    found = recipe.places(at, 3)
    assert found.group.tolist() == [3, UNKNOWN, MISSING]
    assert found.level.tolist() == [1, 0, 0]
    with pytest.raises(
        ValueError, match="row 0 of the new data has another level of 'arm'"
    ):
        recipe.places(new(g=["a"], visit=[1], arm=["y"]), 1)
    with pytest.raises(ValueError, match=r"exog has 'arm' = 'w', a level that the fit had"):
        recipe.places(new(g=["z"], visit=[1], arm=["w"]), 1)
    with pytest.raises(FormulaError, match=r"no column 'arm', which residual=ar1\(visit"):
        recipe.places(new(g=["z"], visit=[1]), 1)
    nested, _, _ = recipe_of("ar1(visit | arm:g)")
    assert nested.places(
        new(arm=["x", "y"], g=["a", "a"], visit=[1, 1]), 2
    ).group.tolist() == [
        0,
        UNKNOWN,
    ]
    whole, _, _ = recipe_of("sp_exp(time, size, nugget=True)")
    assert whole.places(new(time=[0.0], size=[1.0]), 1).group.tolist() == [0]


def test_cells_of_level_and_visit():
    data = frame()[lambda d: (d["arm"] == "x") | (d["visit"] < 9)]
    recipe, bound, stated = recipe_of("ar1h(visit | g, by=arm)", data=data)
    own = own_places(bound, stated)
    found = recipe.places(data, len(data))
    np.testing.assert_array_equal(found.strata[0], own.strata[0])
    with pytest.raises(ValueError, match="at a visit of 'y' of which the fit had no row"):
        recipe.places(new(g=["b"], visit=[9], arm=["y"]), 1)


def test_strata_and_covariates():
    recipe, _, _ = recipe_of(None, "ident(sex:dose) * power(size)")
    found = recipe.places(new(sex=["m", "f"], dose=[1, 2], size=[3.0, np.nan]), 2)
    assert found.strata[0].tolist() == [2, 1]
    assert found.missing.tolist() == [False, True]
    with pytest.raises(ValueError, match=r"'sex:dose' = 'm:4.0', a stratum that the fit"):
        recipe.places(new(sex=["m"], dose=[4.0], size=[1.0]), 1)
    with pytest.raises(ValueError, match="must be positive, and the new data have -1"):
        recipe.places(new(sex=["m"], dose=[1.0], size=[-1.0]), 1)
    with pytest.raises(ValueError, match="infinite values in 'size'"):
        recipe.places(new(sex=["m"], dose=[1.0], size=[np.inf]), 1)
    with pytest.raises(FormulaError, match="'size' must hold numbers"):
        recipe.places(new(sex=["m"], dose=[1.0], size=["a"]), 1)
    missing = recipe.places(new(sex=[None], dose=[1.0], size=[1.0]), 1)
    assert missing.missing.tolist() == [True]


def test_missing_visits_and_times():
    recipe, _, _ = recipe_of("ar1(visit | g)")
    at = new(g=["a", "z"], visit=[np.nan, np.nan])
    assert recipe.places(at, 2).missing.tolist() == [True, False]
    recipe, _, _ = recipe_of("car1(time | g)")
    found = recipe.places(new(g=["a", "a"], time=[np.nan, 0.5]), 2)
    assert found.missing.tolist() == [True, False]


def test_an_array_tells_no_columns():
    recipe, _, _ = recipe_of("ar1(visit | g)")
    with pytest.raises(FormulaError, match="exog is an array, which does not tell 'g'"):
        recipe.places(None, 2)


def test_fitted_values_are_of_the_rows():
    recipe, _, _ = recipe_of("ar1(visit | g)", "power(fitted)")
    with pytest.raises(FormulaError, match="standard deviation of a new row is not known"):
        recipe.places(frame(), 16)


def test_objects_that_hold_values():
    """Columns of new data by the names of Series, else by their roles."""
    data = frame()
    stated = stated_residual(mx.AR1(data["visit"], group=data["g"].to_numpy()), None, None)
    recipe = residual_recipe(bind_stated(stated, 16), stated)
    found = recipe.places(new(group=["b"], visit=[3]), 1)
    assert found.group.tolist() == [1]
    assert found.visits.tolist() == [1]
    assert [c.tolist() for c in recipe.group_columns(new(group=["b"]))] == [["b"]]
