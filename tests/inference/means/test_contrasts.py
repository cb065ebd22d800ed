"""Coefficients of contrasts."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.inference.means.contrasts import contrast_coefficients, orthogonal_polynomials

LABELS = list("ABCD")


# Fisher and Yates, Statistical Tables, table XXIII.
@pytest.mark.parametrize(
    ("k", "degree", "expected"),
    [
        (3, 2, [1, -2, 1]),
        (4, 1, [-3, -1, 1, 3]),
        (5, 3, [-1, 2, 0, -2, 1]),
        (6, 3, [-5, 7, 4, -4, -7, 5]),
        (7, 4, [3, -7, 1, 6, 1, -7, 3]),
        (8, 5, [-7, 23, -17, -15, 15, 17, -23, 7]),
        (9, 6, [4, -17, 22, 1, -20, 1, 22, -17, 4]),
        (10, 6, [3, -11, 10, 6, -8, -8, 6, 10, -11, 3]),
    ],
)
def test_polynomials_of_the_tables(k, degree, expected):
    assert orthogonal_polynomials(k, degree)[-1].tolist() == expected


@pytest.mark.parametrize("k", [2, 3, 7, 20, 31])
def test_polynomials_are_orthogonal(k):
    table = orthogonal_polynomials(k, min(6, k - 1))
    products = table @ table.T
    assert (products == np.diag(np.diag(products))).all()
    assert (table.sum(axis=1) == 0).all()
    assert (table[:, -1] > 0).all()


@pytest.mark.parametrize(
    ("method", "names", "first"),
    [
        ("pairwise", "A - B,A - C,A - D,B - C,B - D,C - D", [1, -1, 0, 0]),
        ("revpairwise", "B - A,C - A,C - B,D - A,D - B,D - C", [-1, 1, 0, 0]),
        ("trt.vs.ctrl", "B - A,C - A,D - A", [-1, 1, 0, 0]),
        ("trt.vs.ctrlk", "A - D,B - D,C - D", [1, 0, 0, -1]),
        ("consec", "B - A,C - B,D - C", [-1, 1, 0, 0]),
        ("mean_chg", "A|B,B|C,C|D", [-1, 1 / 3, 1 / 3, 1 / 3]),
        ("eff", "A effect,B effect,C effect,D effect", [3 / 4, -1 / 4, -1 / 4, -1 / 4]),
        ("del.eff", "A effect,B effect,C effect,D effect", [1, -1 / 3, -1 / 3, -1 / 3]),
        ("identity", "A,B,C,D", [1, 0, 0, 0]),
        ("poly", "linear,quadratic,cubic", [-3, -1, 1, 3]),
    ],
)
def test_families(method, names, first):
    contrast = contrast_coefficients(method, LABELS)
    assert ",".join(contrast.names) == names
    np.testing.assert_allclose(contrast.coefficients[0], first, atol=1e-15)
    assert contrast.sum_to_zero == (method != "identity")


def test_reverse():
    for method in ("pairwise", "trt.vs.ctrl", "consec", "mean_chg"):
        forth = contrast_coefficients(method, LABELS)
        back = contrast_coefficients(method, LABELS, reverse=True)
        rows = {tuple(row) for row in forth.coefficients}
        assert {tuple(-row) for row in back.coefficients} == rows


def test_several_controls():
    contrast = contrast_coefficients("trt.vs.ctrl", LABELS, ref=["A", -1])
    assert contrast.names == ["B - avg(A,D)", "C - avg(A,D)"]
    assert contrast.coefficients[0].tolist() == [-0.5, 1, 0, -0.5]
    with pytest.raises(ValueError, match="nothing is left"):
        contrast_coefficients("trt.vs.ctrl", LABELS, ref=LABELS)
