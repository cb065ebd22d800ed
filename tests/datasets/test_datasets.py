"""The data sets: shape, types, levels, metadata and values as published."""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixedext import datasets

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROMAN = ["I", "II", "III", "IV", "V", "VI"]


def numbers(first, last, step=1):
    return [str(i) for i in range(first, last + 1, step)]


SUBJECTS = [
    *numbers(308, 310),
    *numbers(330, 335),
    "337",
    *numbers(349, 352),
    *numbers(369, 372),
]

BROOD_NAMES = """
501 502 503 504 505 506 507 509 510 511 512 513 514 515 516 517 518 519 520 521 522
523 525 526 528 531 533 535 537 538 539 540 542 548 549 550 553 559 601 602 603 604
605 606 607 608 609 610 611 612 614 615 616 617 618 621 623 624 625 626 628 629 630
631 632 634 635 636 638 640 641 642 643 645 647 648 650 651 652 701 702 704 705 706
708 709 710 711 712 713 714 715 716 717 718 719 720 721 722 723 724 725 727 728 729
730 731 732 733 734 736 737 738 739 740 741 742 743
"""
BROODS = BROOD_NAMES.split()
ITEM_NAMES = """
S1WantCurse S1WantScold S1WantShout S2WantCurse S2WantScold S2WantShout S3WantCurse
S3WantScold S3WantShout S4wantCurse S4WantScold S4WantShout S1DoCurse S1DoScold
S1DoShout S2DoCurse S2DoScold S2DoShout S3DoCurse S3DoScold S3DoShout S4DoCurse
S4DoScold S4DoShout
"""
ITEMS = ITEM_NAMES.split()

# name: rows, response, columns in order with the levels of the factors
EXPECTED = {
    "cake": (
        270,
        "angle",
        {
            "replicate": numbers(1, 15),
            "recipe": ["A", "B", "C"],
            "temperature": ["175", "185", "195", "205", "215", "225"],
            "angle": None,
            "temp": None,
        },
    ),
    "cbpp": (
        56,
        "incidence",
        {
            "herd": numbers(1, 15),
            "incidence": None,
            "size": None,
            "period": numbers(1, 4),
        },
    ),
    "dyestuff": (30, "Yield", {"Batch": list("ABCDEF"), "Yield": None}),
    "dyestuff2": (30, "Yield", {"Batch": list("ABCDEF"), "Yield": None}),
    "eggs": (
        48,
        "Fat",
        {
            "Fat": None,
            "Lab": ROMAN,
            "Technician": ["one", "two"],
            "Sample": ["G", "H"],
        },
    ),
    "fev": (
        800,
        "FEV1",
        {
            "USUBJID": [f"PT{i}" for i in range(1, 201)],
            "AVISIT": ["VIS1", "VIS2", "VIS3", "VIS4"],
            "ARMCD": ["PBO", "TRT"],
            "RACE": ["Asian", "Black or African American", "White"],
            "SEX": ["Male", "Female"],
            "FEV1_BL": None,
            "FEV1": None,
            "WEIGHT": None,
            "VISITN": None,
            "VISITN2": None,
        },
    ),
    "grouseticks": (
        403,
        "TICKS",
        {
            "INDEX": numbers(1, 403),
            "TICKS": None,
            "BROOD": BROODS,
            "HEIGHT": None,
            "YEAR": numbers(95, 97),
            "LOCATION": numbers(1, 63),
            "cHEIGHT": None,
        },
    ),
    "irrigation": (
        16,
        "yield",
        {
            "field": ["f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8"],
            "irrigation": ["i1", "i2", "i3", "i4"],
            "variety": ["v1", "v2"],
            "yield": None,
        },
    ),
    "machines": (
        54,
        "score",
        {"Worker": numbers(1, 6), "Machine": ["A", "B", "C"], "score": None},
    ),
    "oats": (
        72,
        "yield",
        {
            "Block": ROMAN,
            "Variety": ["Golden Rain", "Marvellous", "Victory"],
            "nitro": None,
            "yield": None,
            "nitroF": ["n0", "n0.2", "n0.4", "n0.6"],
        },
    ),
    "panel": (
        1200,
        "works",
        {
            "person": numbers(1, 200),
            "year": None,
            "schooling": None,
            "kids": None,
            "married": None,
            "works": None,
        },
    ),
    "pastes": (
        60,
        "strength",
        {
            "strength": None,
            "batch": list("ABCDEFGHIJ"),
            "cask": ["a", "b", "c"],
            "sample": [f"{batch}:{cask}" for batch in "ABCDEFGHIJ" for cask in "abc"],
        },
    ),
    "penicillin": (
        144,
        "diameter",
        {"diameter": None, "plate": list(LETTERS[:24]), "sample": list("ABCDEF")},
    ),
    "plants": (
        10,
        "height",
        {
            "moisture": ["m1", "m2"],
            "pot": ["p11", "p12", "p21", "p22"],
            "seedling": ["1", "2", "3"],
            "height": None,
        },
    ),
    "potassium": (
        15,
        "yield",
        {
            "K2O_lbac": ["36", "54", "72", "108", "144"],
            "rep": ["1", "2", "3"],
            "yield": None,
        },
    ),
    "pulp": (20, "bright", {"bright": None, "operator": ["a", "b", "c", "d"]}),
    "sleepstudy": (
        180,
        "Reaction",
        {"Reaction": None, "Days": None, "Subject": SUBJECTS},
    ),
    "verbagg": (
        7584,
        "r2",
        {
            "Anger": None,
            "Gender": ["F", "M"],
            "item": ITEMS,
            "resp": ["no", "perhaps", "yes"],
            "id": numbers(1, 316),
            "btype": ["curse", "scold", "shout"],
            "situ": ["other", "self"],
            "mode": ["want", "do"],
            "r2": None,
        },
    ),
}
NAMES = list(EXPECTED)

every = pytest.mark.parametrize("name", NAMES)


def module_of(name):
    return import_module(f"mixedext.datasets.{name}")


@every
def test_columns_types_and_levels(name):
    n_obs, _, columns = EXPECTED[name]
    data = module_of(name).load().data
    assert data.shape == (n_obs, len(columns))
    assert list(data.columns) == list(columns)
    for column, levels in columns.items():
        values = data[column]
        if levels is None:
            assert values.dtype == np.float64
        else:
            assert isinstance(values.dtype, pd.CategoricalDtype)
            assert values.cat.categories.tolist() == levels
            assert all(type(level) is str for level in values.cat.categories)
            assert not values.cat.ordered
            assert set(values) == set(levels)  # every level occurs


@every
def test_nothing_is_missing(name):
    data = module_of(name).load().data
    if name == "fev":  # whose missing visits are what it is for
        assert data["FEV1"].isna().sum() == 263
        data = data.drop(columns="FEV1")
    assert not data.isna().to_numpy().any()
    assert np.isfinite(data.select_dtypes("number").to_numpy()).all()


@every
def test_endog_and_exog(name):
    _, endog, columns = EXPECTED[name]
    others = [column for column in columns if column != endog]
    dataset = module_of(name).load()
    assert dataset.endog_name == endog
    assert list(dataset.exog_name) == others
    assert list(dataset.names) == list(columns)
    pd.testing.assert_series_equal(dataset.endog, dataset.data[endog])
    pd.testing.assert_frame_equal(dataset.exog, dataset.data[others])


@every
def test_every_way_of_loading_gives_the_same(name):
    module = module_of(name)
    first, again = module.load().data, module.load_pandas().data
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(first, datasets.load(name).data)
    assert getattr(datasets, name) is module


@every
def test_loads_are_independent(name):
    module = module_of(name)
    first = module.load()
    before = first.endog.copy()
    first.data.loc[:, first.endog_name] = -1.0
    pd.testing.assert_series_equal(module.load().endog, before)


@every
def test_metadata(name):
    n_obs, _, columns = EXPECTED[name]
    module = module_of(name)
    for constant in (
        "COPYRIGHT",
        "TITLE",
        "SOURCE",
        "DESCRSHORT",
        "DESCRLONG",
        "NOTE",
    ):
        assert getattr(module, constant).strip(), constant
    assert f"Number of observations - {n_obs}\n" in module.NOTE
    assert f"Number of variables - {len(columns)}\n" in module.NOTE
    for column in columns:
        assert f"        {column} " in module.NOTE


@pytest.mark.parametrize("name", ["", *(f".{name}" for name in NAMES)])
def test_examples_of_the_docstrings(name):
    failed, attempted = doctest.testmod(import_module(f"mixedext.datasets{name}"))
    assert attempted > 0
    assert failed == 0


def test_available():
    table = datasets.available()
    assert table.index.tolist() == NAMES == sorted(NAMES)
    assert table.index.name == "name"
    assert table.columns.tolist() == [
        "title",
        "n_obs",
        "endog",
        "description",
        "source",
    ]
    assert not table.isna().to_numpy().any()
    for name, row in table.iterrows():
        module, dataset = module_of(name), datasets.load(name)
        assert row["title"] == module.TITLE
        assert row["n_obs"] == len(dataset.data)
        assert row["endog"] == dataset.endog_name
        assert row["description"] == module.DESCRSHORT
        assert "\n" not in row["source"]
        assert row["source"]
        assert module.SOURCE.startswith(row["source"])


def test_available_lists_every_data_set_of_the_package():
    folder = Path(datasets.__file__).parent
    files = sorted(folder.glob("*/*.csv"))
    assert [path.stem for path in files] == NAMES
    assert all(path.parent.name == path.stem for path in files)
    assert set(datasets.__all__) == {"available", "load", *NAMES}


@pytest.mark.parametrize("name", ["Sleepstudy", "", "available", "_utils"])
def test_unknown_name(name):
    with pytest.raises(ValueError, match="There is no data set") as error:
        datasets.load(name)
    assert repr(name) in str(error.value)
    for known in NAMES:
        assert known in str(error.value)


def values(name):
    return datasets.load(name).endog.to_numpy()


def sums(name, by):
    dataset = datasets.load(name)
    return dataset.endog.groupby(dataset.data[by], observed=True).sum().to_dict()


def test_pulp_values():
    table = """
    59.8 60.0 60.8 60.8 59.8
    59.8 60.2 60.4 59.9 60.0
    60.7 60.7 60.5 60.9 60.3
    61.0 60.8 60.6 60.5 60.5"""
    assert_array_equal(values("pulp"), np.array(table.split(), float))
    operators = datasets.pulp.load().data["operator"]
    assert operators.tolist() == [operator for operator in "abcd" for _ in range(5)]


def test_irrigation_values():
    table = """
    35.4 37.9 36.7 38.2 34.8 36.4 39.5 40.0
    41.6 40.3 42.7 41.6 43.6 42.8 44.5 47.6"""
    assert_array_equal(values("irrigation"), np.array(table.split(), float))
    data = datasets.irrigation.load().data
    assert data["field"].tolist() == [f"f{i}" for i in range(1, 9) for _ in range(2)]
    whole_plots = [f"i{i}" for i in (1, 2, 3, 4, 1, 2, 3, 4) for _ in range(2)]
    assert data["irrigation"].tolist() == whole_plots
    assert data["variety"].tolist() == ["v1", "v2"] * 8


def test_eggs_values():
    table = """
    0.62 0.55 0.34 0.24 0.80 0.68 0.76 0.65
    0.30 0.40 0.33 0.43 0.39 0.40 0.29 0.18
    0.46 0.38 0.27 0.37 0.37 0.42 0.45 0.54
    0.18 0.47 0.53 0.32 0.40 0.37 0.31 0.43
    0.35 0.39 0.37 0.33 0.42 0.36 0.20 0.41
    0.37 0.43 0.28 0.36 0.18 0.20 0.26 0.06"""
    assert_array_equal(values("eggs"), np.array(table.split(), float))
    data = datasets.eggs.load().data
    assert data["Lab"].tolist() == [lab for lab in ROMAN for _ in range(8)]
    assert data["Technician"].tolist() == (["one"] * 4 + ["two"] * 4) * 6
    assert data["Sample"].tolist() == ["G", "G", "H", "H"] * 12


def test_potassium_values():
    table = """
    7.62 8.20 7.93
    8.14 8.35 7.87
    7.76 7.93 7.74
    7.17 7.77 7.80
    7.46 7.88 7.21"""
    strength = np.array(table.split(), float)
    assert_array_equal(values("potassium"), strength)
    data = datasets.potassium.load().data
    rates = ["36", "54", "72", "108", "144"]
    assert data["K2O_lbac"].tolist() == [rate for rate in rates for _ in range(3)]
    assert data["rep"].tolist() == ["1", "2", "3"] * 5
    means = strength.reshape(5, 3).mean(axis=1)
    assert_array_equal(means.round(2), [7.92, 8.12, 7.81, 7.58, 7.52])
    # what the NOTE says of the book
    book = strength.reshape(5, 3)[:, 1] - 0.2
    assert_allclose(book, [8.00, 8.15, 7.73, 7.57, 7.68], rtol=1e-12)
    assert "8.00, 8.15, 7.73, 7.57 and 7.68" in datasets.potassium.NOTE


def test_fev_layout():
    data = datasets.fev.load().data
    assert (data.groupby("USUBJID", observed=True).size() == 4).all()
    assert data["AVISIT"].tolist() == ["VIS1", "VIS2", "VIS3", "VIS4"] * 200
    assert data["VISITN"].tolist() == [1, 2, 3, 4] * 200
    arms = data.groupby("USUBJID", observed=True)["ARMCD"].nunique()
    assert (arms == 1).all()
    assert_allclose(data["FEV1"].sum(), 22712.902956, rtol=1e-10)


def test_plants_layout():
    data = datasets.plants.load().data
    assert data["pot"].tolist() == (["p11"] * 3 + ["p12"] * 2 + ["p21"] * 3 + ["p22"] * 2)
    assert data["moisture"].tolist() == ["m1"] * 5 + ["m2"] * 5
    assert data["seedling"].tolist() == ["1", "2", "3", "1", "2"] * 2
    assert "made up" in datasets.plants.NOTE


def test_sleepstudy_values():
    data = datasets.sleepstudy.load().data
    first = data.loc[data["Subject"] == "308"]
    assert first["Days"].tolist() == list(range(10))
    assert first["Reaction"].iloc[:3].tolist() == [249.56, 258.7047, 250.8006]
    assert_allclose(data["Reaction"].sum(), 53731.4205, rtol=1e-12)
    assert (data.groupby("Subject", observed=True).size() == 10).all()


def test_oats_values():
    by_variety = {"Golden Rain": 2508, "Marvellous": 2635, "Victory": 2343}
    assert sums("oats", "Variety") == by_variety
    by_nitrogen = {"n0": 1429, "n0.2": 1780, "n0.4": 2056, "n0.6": 2221}
    assert sums("oats", "nitroF") == by_nitrogen


@pytest.mark.parametrize("factor", ["Block", "Variety"])
def test_oats_is_balanced(factor):
    data = datasets.oats.load().data
    counts = pd.crosstab(data[factor], data["nitroF"]).to_numpy()
    assert (counts == counts[0, 0]).all()


def test_oats_and_cake_hold_the_same_amounts_twice():
    oats, cake = datasets.oats.load().data, datasets.cake.load().data
    amounts = oats["nitroF"].astype(str).str.removeprefix("n").astype(float)
    assert_array_equal(amounts, oats["nitro"])
    assert_array_equal(cake["temperature"].astype(float), cake["temp"])


def test_cake_values():
    by_temperature = {"175": 1259, "185": 1348, "195": 1414}
    by_temperature |= {"205": 1448, "215": 1613, "225": 1591}
    assert sums("cake", "temperature") == by_temperature
    assert sums("cake", "recipe") == {"A": 2981, "B": 2848, "C": 2844}
    assert values("cake")[:6].tolist() == [42, 46, 47, 39, 53, 42]


def test_pastes_sample_is_batch_and_cask():
    data = datasets.pastes.load().data
    both = data["batch"].astype(str) + ":" + data["cask"].astype(str)
    assert data["sample"].tolist() == both.tolist()
    assert_allclose(values("pastes").sum(), 3603.2, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "by", "expected"),
    [
        ("dyestuff", "Batch", [7525, 7640, 7820, 7490, 8000, 7350]),
        ("dyestuff2", "Batch", [31.134, 23.28, 37.606, 28.424, 30.398, 19.126]),
        ("penicillin", "sample", [604, 527, 598, 549, 551, 479]),
        ("machines", "Machine", [942.4, 1085.8, 1192.9]),
    ],
)
def test_sums(name, by, expected):
    assert_allclose(list(sums(name, by).values()), expected, rtol=1e-12)
