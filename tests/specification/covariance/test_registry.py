import pytest

from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.covariance.registry import (
    BARS,
    NAMES,
    STRUCTURES,
    is_call,
    label,
    structure,
    why_no_call,
    why_not,
)


def test_what_is_built():
    assert list(STRUCTURES) == ["unstructured", "diagonal", "identity"]
    for name, built in STRUCTURES.items():
        own = structure(name, 2)
        assert type(own) is built
        assert isinstance(own, LinearStructure)
        assert own.name == name
        assert structure(name, 2) is own
    assert set(BARS.values()) <= set(STRUCTURES)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("ar1", "is not built"),
        ("x", "is unknown"),
        ("CSH", r"\(compound symmetry\) is not built"),
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
    assert not is_call(f"{name}(x)")
    assert not is_call(f"{name}(x | g) * z")
    assert not is_call(f"f{name}(x | g)")


def test_labels():
    assert label("unstructured", "x", "g") == "(x | g)"
    assert label("diagonal", "x", "g") == "(x || g)"
    assert why_no_call("cs(x | g)") == (
        "covariance structures such as cs(x | g) are not built; "
        "(x | g) is unstructured, (x || g) diagonal"
    )
