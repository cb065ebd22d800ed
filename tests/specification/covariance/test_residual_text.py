"""Text forms are the objects that print so; what cannot be read is told."""

from __future__ import annotations

import pytest

import mixedext as mx
from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.residual_text import (
    STRUCTURES,
    factors_of,
    read_structures,
    read_variance,
)

OBJECTS = {
    "us(visit | subject)": mx.Unstructured("visit", "subject"),
    "us(visit | subject, by=arm)": mx.Unstructured("visit", "subject", by="arm"),
    "cs(1 | g)": mx.CS(1, "g"),
    "cs(visit|g)": mx.CS("visit", "g"),
    "csh( visit | g )": mx.CS("visit", "g", het=True),
    "ar1(1 | g)": mx.AR1(1, "g"),
    "ar1(visit)": mx.AR1("visit"),
    "ar1h(visit | a/b)": mx.AR1("visit", ("b", "a"), het=True),
    "car1(time | a:b)": mx.CAR1("time", ("a", "b")),
    "arma(visit | g, p=1, q=2)": mx.ARMA("visit", "g", p=1, q=2),
    "toep(visit | g, bands=3)": mx.Toeplitz("visit", "g", bands=3),
    "toep(visit | g, rho=(.1, .2), fixed=True)": mx.Toeplitz(
        "visit", "g", rho=(0.1, 0.2), fixed=True
    ),
    "ad(visit | g)": mx.Antedependence("visit", "g", het=False),
    "adh(visit | `the group`)": mx.Antedependence("visit", "the group"),
    "adh(visit | Q('the group'))": mx.Antedependence("visit", "the group"),
    "sp_exp(x, y | g)": mx.Spatial("exp", ["x", "y"], "g"),
    "sp_gau(x, y, nugget=True)": mx.Spatial("gau", ["x", "y"], nugget=True),
    "sp_lin(x | g, metric='manhattan')": mx.Spatial("lin", ["x"], "g", metric="manhattan"),
    "us(v | g, start={'UN(2,1)': 0.5})": mx.Unstructured("v", "g", start={"UN(2,1)": 0.5}),
    "independent": mx.Independent(),
    "none": mx.Independent(),
}


@pytest.mark.parametrize("text", OBJECTS)
def test_texts_are_objects(text):
    (structure,) = read_structures(text, False)
    assert type(structure) is type(OBJECTS[text])
    assert repr(structure) == repr(OBJECTS[text])


@pytest.mark.parametrize("text", OBJECTS)
def test_what_is_printed_is_read_again(text):
    printed = str(OBJECTS[text])
    (again,) = read_structures(printed, False)
    assert str(again) == printed


def test_lists_and_nothing():
    first, second = read_structures(["us(v | g)", mx.CS(group="g")], False)
    assert (str(first), str(second)) == ("us(v | g)", "cs(1 | g)")
    assert read_structures(None, False) == ()
    assert [str(s) for s in read_structures(None, True)] == ["independent"]
    assert read_variance(None) == ()


REFUSED = {
    "ar1": "name its columns, as in ar1(visit | subject)",
    "ar1(v | g": "a bracket is not closed, as in ar1(visit | subject)",
    "ar2(v | g)": "ar2 is no residual structure; there are us, cs, csh, ar1, ar1h, car1",
    "toepp(v | g)": "Did you mean 'toep'?",
    "AR1(v | g)": "Did you mean 'ar1'?",
    "ar1(v + 1 | g)": "'v + 1' is not the name of a column; make a column of it before",
    "ar1(v | g, h)": "cannot read 'h'; write the groups after the bar, several as a:b",
    "ar1(v | g, rh=2)": "ar1 has no rh=; its options are by, rho, start, fixed. Did you",
    "us(v | g, rho=2)": "us has no rho=; its options are by, start, fixed",
    "ar1(v | g, rho=x)": "rho=x is no number, no tuple of numbers and neither True nor",
    "ar1(v | g, rho=1, rho=2)": "rho= is given twice",
    "cs(v | g, het=True)": "the structure with variances by visit is csh",
    "csh(1 | g)": "csh has a variance for each visit; name the visits",
    "car1(1 | g)": "name the times; ar1(1 | g) takes the order of rows",
    "us(v | a + b)": "'a + b' are several groupings, and rows have one; write a:b",
    "us(v | a*b)": "'a*b' are several groupings, and rows have one; write a:b",
    "us(v | g | h)": "has more than one bar",
    "us(| g)": "write one visit or time before the bar, not none, as in us(visit | sub",
    "us(v, w | g)": "write one visit or time before the bar, not several",
    "us(v |)": "names no groups after the bar",
    "sp_exp()": "name coordinates, as in sp_exp(x, y | g) or sp_exp(x, y)",
    "sp_exp(1 | g)": "name coordinates, as in sp_exp(x, y | g) or sp_exp(x, y)",
    "": "is no residual structure; there are us, cs",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_read(text):
    with pytest.raises(FormulaError) as caught:
        read_structures(text, False)
    assert str(caught.value).startswith(f"residual={text!r}")
    assert REFUSED[text] in str(caught.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (mx.AR1, "residual=mx.AR1 is a class: say its columns, as in mx.AR1(...)"),
        ([], "residual=[] holds no structure; leave it out, or give one"),
        (3, "residual must be a text such as 'ar1(visit | subject)' or an object"),
        ({"us": 1}, "or a list of them; got dict"),
        (mx.VarIdent("a"), "is no correlation: give it as variance="),
    ],
)
def test_what_is_no_structure(given, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_structures(given, False)
    assert text in str(caught.value)


FUNCTIONS = {
    "ident(sex)": ["ident(sex)"],
    "ident(a:b)": ["ident(a:b)"],
    "power(time|qb)": ["power(time | qb)"],
    "exp( time )": ["exp(time)"],
    "power(fitted)": ["power(fitted)"],
    "constpower(x, const=1, power=.5)": ["constpower(x, const=1, power=0.5)"],
    "fixed(`the time`)": ["fixed(`the time`)"],
    "ident(qb) * power(pressure)": ["ident(qb)", "power(pressure)"],
}


@pytest.mark.parametrize("text", FUNCTIONS)
def test_variance_functions(text):
    assert [str(f) for f in read_variance(text)] == FUNCTIONS[text]


def test_products_and_lists_of_functions():
    product = mx.VarIdent("a") * mx.VarPower("x")
    assert read_variance(product) == product.parts
    mixed = read_variance(["ident(a)", mx.VarPower("x")])
    assert [str(f) for f in mixed] == ["ident(a)", "power(x)"]


NO_FUNCTION = {
    "power()": "name one covariate, as in power(time); power(fitted) takes the fitted",
    "power": "name its column, as in power(time)",
    "ident(1 | sex)": "name the factor of the strata alone: ident(sex)",
    "ident(a, b)": "name the factor of the strata alone: ident(sex)",
    "fixed(x | g)": "ident(g) * fixed(x) gives each a variance",
    "pow(x)": "pow is no function of the variance; there are ident, power, exp, const",
    "": "a function of the variance is missing; there are ident, power",
    "ident(a) *": "a function of the variance is missing",
    "power(x, pow=1)": "power has no pow=; its options are power, fixed",
    "power(x + 1)": "'x + 1' is not the name of a column",
}


@pytest.mark.parametrize("text", NO_FUNCTION)
def test_functions_that_cannot_be_read(text):
    with pytest.raises(FormulaError) as caught:
        read_variance(text)
    assert str(caught.value).startswith(f"variance={text!r}")
    assert NO_FUNCTION[text] in str(caught.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "variance=[] holds no function"),
        (2.0, "variance must be a text such as 'ident(sex)' or 'power(time)'"),
        (mx.AR1("v", "g"), "is a correlation: give it as residual="),
    ],
)
def test_what_is_no_function(given, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_variance(given)
    assert text in str(caught.value)


def test_factors():
    assert factors_of("a", "") == "a"
    assert factors_of("a/b/c", "") == ("c", "b", "a")
    assert factors_of("a:b", "") == ("a", "b")


def test_every_structure_is_named_by_its_object():
    for name, (kind, own) in STRUCTURES.items():
        given = {"p": 1} if name == "arma" else {}
        places = ("x",) if name.startswith("sp_") else ("v",)
        if "kind" in own:
            structure = kind(own["kind"], *places, "g")
        else:
            structure = kind(*places, "g", **own, **given)
        assert str(structure).startswith(f"{name}(")
