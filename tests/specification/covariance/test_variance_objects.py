"""Objects of variance functions: as text, as code, products, and what they refuse."""

from __future__ import annotations

import pytest

import mixedext as mx
from mixedext.specification.covariance.variance_objects import VarianceProduct

PRINTED = [
    (mx.VarIdent("sex"), "ident(sex)"),
    (mx.VarIdent(("a", "b")), "ident(a:b)"),
    (mx.VarPower("time"), "power(time)"),
    (mx.VarPower("time", "diet", power=0.5), "power(time | diet, power=0.5)"),
    (mx.VarExp("time", rate=0.1, fixed=True), "exp(time, rate=0.1, fixed=True)"),
    (mx.VarConstPower("time"), "constpower(time)"),
    (mx.VarFixed("time"), "fixed(time)"),
    (mx.VarPower("fitted"), "power(fitted)"),
]


@pytest.mark.parametrize(("function", "text"), PRINTED, ids=[t for _, t in PRINTED])
def test_printed_as_typed(function, text):
    assert str(function) == text
    assert str(eval(repr(function), {**vars(mx)})) == text


def test_products():
    product = mx.VarIdent("a") * mx.VarPower("x") * mx.VarFixed("w")
    assert str(product) == "ident(a) * power(x) * fixed(w)"
    assert str(mx.VarIdent("a") * (mx.VarPower("x") * mx.VarFixed("w"))) == str(product)
    both = product * VarianceProduct((mx.VarExp("z"),))
    assert len(both.parts) == 4
    with pytest.raises(TypeError):
        mx.VarIdent("a") * 2
    with pytest.raises(TypeError):
        product * 2


REFUSED = [
    (lambda: mx.VarIdent("a", ratios=[1, 2]), "ratios must map levels to numbers"),
    (lambda: mx.VarIdent("a", ratios={"b": -1}), r"ratio=-1 must be a number in \(0, inf"),
    (lambda: mx.VarPower("x", power="a"), "VarPower: power='a' must be a number"),
    (lambda: mx.VarExp("x", rate=float("inf")), "VarExp: rate=inf must be a number"),
    (lambda: mx.VarConstPower("x", const=0), "VarConstPower: const=0 must be a number"),
    (lambda: mx.VarPower("x", fixed=True), "fixed=True holds the values that are given"),
    (lambda: mx.VarPower("x", power=1, fixed=2), "fixed=2 must be True or False"),
    (lambda: mx.VarPower(" "), "VarPower: covariate is empty"),
]


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[t for _, t in REFUSED])
def test_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
