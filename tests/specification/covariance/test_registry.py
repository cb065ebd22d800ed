import pytest

from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.covariance.registry import (
    BARS,
    NAMES,
    STRUCTURES,
    is_call,
    label,
    means,
    name_of,
    structure,
    structure_of_call,
    why_no_call,
    why_not,
    written,
)


def test_what_is_built():
    assert list(STRUCTURES) == [
        *("unstructured", "diagonal", "identity", "cs", "homcs", "ar1", "hetar1"),
        *("toep", "homtoep", "adh", "ad"),
    ]
    for name, built in STRUCTURES.items():
        own = structure(name, 2)
        assert type(own) is built
        assert isinstance(own, LinearStructure) == own.linear
        assert own.linear == (name in ("unstructured", "diagonal", "identity"))
        assert own.name == name
        assert structure(name, 2) is own
    assert set(BARS.values()) <= set(STRUCTURES)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("ou", r"\(continuous-time autoregression\) is not built"),
        ("rr", r"\(reduced rank\) is not built"),
        ("x", "is unknown"),
        ("AR1", "is written 'ar1'"),
        ("CSH", "is SAS's name of 'cs'"),
        ("CS", "is SAS's name of 'homcs'"),
        ("TOEP", "is SAS's name of 'homtoep'"),
        ("pdCompSymm", "is nlme's name of 'homcs'"),
        ("ar1h", "is mmrm's name of 'hetar1'"),
        ("UN", "is SAS's name of 'unstructured'"),
        ("diag", "is glmmTMB's name of 'diagonal'"),
        ("pdIdent", "is nlme's name of 'identity'"),
    ],
)
def test_structures_that_there_are_not(name, match):
    with pytest.raises(ValueError, match=f"{match}; use one of 'unstructured'") as caught:
        structure(name, 2)
    assert str(caught.value) == why_not(name)


def test_no_program_has_one_name_for_two():
    for program in {p for row in NAMES.values() for p in row.others}:
        names = [n for row in NAMES.values() for n in row.others.get(program, ())]
        assert len(names) == len(set(names)), program


@pytest.mark.parametrize("name", [call for row in NAMES.values() for call in row.calls])
def test_calls_in_a_formula(name):
    assert is_call(f"{name}(0 + x | g)")
    assert is_call(f"{name} (x|g)")
    assert is_call(f"{name}(0 + C(x) | g, hom=True)")
    assert not is_call(f"{name}(x)")
    assert not is_call(f"{name}(x | g) * z")
    assert not is_call(f"f{name}(x | g)")


def test_labels():
    assert label("unstructured", "x", "g") == "(x | g)"
    assert label("diagonal", "x", "g") == "(x || g)"
    assert label("hetar1", "0 + x", "g") == "hetar1(0 + x | g)"
    assert written("unstructured", "x", "g") == "(x | g)"
    assert written("diagonal", "x", "g") == "(x || g)"
    assert written("identity", "x", "g") == "homdiag(x | g)"
    assert written("homcs", "x", "g") == "homcs(x | g)"
    assert why_no_call("rr").startswith(
        "rr(...) (reduced rank) is not built; use one of us"
    )
    assert means(structure("ad", 3)) == "antedependence, one variance"


@pytest.mark.parametrize(
    ("call", "homogeneous", "name"),
    [
        ("us", None, "unstructured"),
        ("diag", None, "diagonal"),
        ("diag", True, "identity"),
        ("homdiag", None, "identity"),
        ("cs", None, "cs"),
        ("cs", True, "homcs"),
        ("homcs", True, "homcs"),
        ("ar1", None, "ar1"),
        ("ar1", True, "ar1"),
        ("ar1", False, "hetar1"),
        ("hetar1", None, "hetar1"),
        ("toep", None, "toep"),
        ("toep", True, "homtoep"),
        ("adh", None, "adh"),
        ("ad", False, "adh"),
    ],
)
def test_defaults_of_calls_and_hom(call, homogeneous, name):
    assert structure_of_call(call, homogeneous) == name


@pytest.mark.parametrize(
    ("call", "homogeneous", "match"),
    [
        ("us", True, "us\\(\\) has a variance for each column"),
        ("homcs", False, "says two things"),
        ("hetar1", True, "says two things"),
        ("ou", None, "continuous-time autoregression"),
    ],
)
def test_calls_that_cannot_be(call, homogeneous, match):
    with pytest.raises(ValueError, match=match):
        structure_of_call(call, homogeneous)


class Stated:
    """As the objects of residual structures."""

    def __init__(self, call, is_het=False, **given):
        self.call, self.is_het = call, is_het
        vars(self).update(given)


def test_objects_stand_for_structures():
    class Named:
        random_name = "homtoep"

    assert name_of(Named()) == "homtoep"
    assert name_of(Stated("ar1")) == "ar1"
    assert name_of(Stated("ar1", True)) == "hetar1"
    assert name_of(Stated("us")) == "unstructured"
    assert name_of(Stated("cs", True, visit=None, fixed=False)) == "cs"
    assert name_of(3) is None
    with pytest.raises(ValueError, match="leave out visit, rho of Stated"):
        name_of(Stated("ar1", visit="v", rho=0.5))
    with pytest.raises(ValueError, match="is one of residuals"):
        name_of(Stated("arma"))
