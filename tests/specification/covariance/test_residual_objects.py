"""Objects of residual structures: as text, as code, and what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

PRINTED = [
    (mx.CS(group="g"), "cs(1 | g)"),
    (mx.CS(1, "g"), "cs(1 | g)"),
    (mx.CS("visit", "g"), "cs(visit | g)"),
    (mx.CS("visit", "g", het=True), "csh(visit | g)"),
    (mx.AR1("visit", "g"), "ar1(visit | g)"),
    (mx.AR1(1, "g"), "ar1(1 | g)"),
    (mx.AR1("visit"), "ar1(visit)"),
    (mx.AR1("visit", "g", het=True, by="arm"), "ar1h(visit | g, by=arm)"),
    (mx.AR1("visit", "g", rho=0.5, fixed=True), "ar1(visit | g, rho=0.5, fixed=True)"),
    (mx.AR1("visit", ("a", "b")), "ar1(visit | a:b)"),
    (mx.AR1("visit", ["a", "b"]), "ar1(visit | a:b)"),
    (mx.CAR1("time", "g"), "car1(time | g)"),
    (mx.ARMA("visit", "g", p=1, q=1), "arma(visit | g, p=1, q=1)"),
    (mx.ARMA("visit", "g", q=2, ma=[0.1, 0.2]), "arma(visit | g, q=2, ma=(0.1, 0.2))"),
    (mx.ARMA("visit", "g", p=1, ar=0.5), "arma(visit | g, p=1, ar=(0.5,))"),
    (mx.Toeplitz("visit", "g"), "toep(visit | g)"),
    (mx.Toeplitz("visit", "g", bands=3, het=True), "toeph(visit | g, bands=3)"),
    (mx.Unstructured("visit", "g"), "us(visit | g)"),
    (mx.Unstructured("the visit", "g", by="arm"), "us(`the visit` | g, by=arm)"),
    (mx.Antedependence("visit", "g"), "adh(visit | g)"),
    (mx.Antedependence("visit", "g", het=False), "ad(visit | g)"),
    (mx.Spatial("exp", "x"), "sp_exp(x)"),
    (mx.Spatial("gau", ["x", "y"], "g"), "sp_gau(x, y | g)"),
    (mx.Spatial("spher", ["x", "y"], nugget=True), "sp_spher(x, y, nugget=True)"),
    (mx.Spatial("exp", ["x", "y"], nugget=0.2), "sp_exp(x, y, nugget=0.2)"),
    (
        mx.Spatial("ratio", ["x", "y"], metric="manhattan", range=2),
        "sp_ratio(x, y, metric=manhattan, range=2.0)",
    ),
    (mx.Spatial("pow", "x", "g", rho=0.5), "sp_pow(x | g, rho=0.5)"),
    (mx.Independent(), "independent"),
]


@pytest.mark.parametrize(("structure", "text"), PRINTED, ids=[t for _, t in PRINTED])
def test_printed_as_typed(structure, text):
    assert str(structure) == text
    again = eval(repr(structure), {**vars(mx)})
    assert type(again) is type(structure)
    assert str(again) == text
    assert str(pickle.loads(pickle.dumps(structure))) == text


def test_values_by_rows_are_called_by_their_series_or_role():
    visit, subject = pd.Series([0, 1], name="day"), np.array([1, 1])
    structure = mx.AR1(visit, group=subject)
    assert str(structure) == "ar1(day | group)"
    assert repr(structure) == "AR1(visit=<day>, group=<ndarray>)"


def test_coordinates_in_every_form():
    x, y = np.arange(3.0), np.ones(3)
    one = mx.Spatial("exp", np.column_stack([x, y])).places
    other = mx.Spatial("exp", pd.DataFrame({"x": x, "y": y})).places
    third = mx.Spatial("exp", [x, y]).places
    for places in (one, other, third):
        np.testing.assert_array_equal(np.column_stack(places), np.column_stack([x, y]))
    (single,) = mx.Spatial("exp", x).places
    assert single is x
    assert mx.Spatial("exp", [0.0, 1.0]).places == ([0.0, 1.0],)


REFUSED = [
    (lambda: mx.CS("v", "g", het=1), "CS: het=1 must be True or False"),
    (lambda: mx.AR1("v", "g", rho=1), r"AR1: rho=1 must be a number in \(-1, 1\)"),
    (lambda: mx.CAR1("v", "g", rho=-0.1), r"CAR1: rho=-0.1 must be a number in \(0, 1\)"),
    (lambda: mx.AR1("v", "g", rho="a"), "AR1: rho='a' must be a number"),
    (lambda: mx.AR1("v", "g", rho=np.nan), "AR1: rho=nan must be a number"),
    (lambda: mx.AR1("v", "g", fixed=True), "fixed=True holds the values that are given"),
    (lambda: mx.AR1("v", "g", rho=0.1, fixed="yes"), "AR1: fixed='yes' must be True or"),
    (lambda: mx.ARMA("v", "g"), "p and q are both 0; give p=1, q=1"),
    (lambda: mx.ARMA("v", "g", p=1.5), "ARMA: p=1.5 must be a whole number"),
    (lambda: mx.ARMA("v", "g", p=-1), "ARMA: p=-1 must be a whole number"),
    (lambda: mx.ARMA("v", "g", p=1, ar=[1, 2]), "ARMA: ar has 2 values; expected 1"),
    (lambda: mx.Toeplitz("v", "g", bands=1), "bands=1 is the diagonal alone; leave resid"),
    (lambda: mx.Toeplitz("v", "g", bands=0), "Toeplitz: bands=0 must be a whole number"),
    (lambda: mx.Spatial("expo", "x"), "kind='expo' is not known; use .* you mean 'exp'"),
    (lambda: mx.Spatial("exp", "x", metric="city"), "metric='city' is not known; use"),
    (lambda: mx.Spatial("exp", "x", nugget=1.5), r"nugget=1.5 must be .* in \(0, 1\)"),
    (lambda: mx.AR1("v", "g", start=0.5), "start must map names of parameters to numbers"),
    (lambda: mx.AR1("v", "g", start={"rho": "x"}), "start of 'rho'='x' must be a number"),
    (lambda: mx.Spatial("exp", "x", nugget=0), r"nugget=0 must be a number in \(0, 1\)"),
    (lambda: mx.Spatial("exp", "x", range=0), r"range=0 must be a number in \(0, inf\)"),
    (lambda: mx.Spatial("exp", "x", rho=0.5), "the parameter of 'exp' is range="),
    (lambda: mx.Spatial("pow", "x", range=1), "the parameter of 'pow' is rho="),
]


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[t for _, t in REFUSED])
def test_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
