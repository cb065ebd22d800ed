"""Gauss-Hermite rules of any number of nodes."""

import numpy as np
import pytest
from scipy import special

from mixedext.engine.generalized.quadrature import MOST_NODES, hermite_rule, product_rule


@pytest.mark.parametrize("n", [1, 2, 5, 25, 100, 250])
def test_against_numpy(n):
    node, weight = np.polynomial.hermite_e.hermegauss(n)
    found, raised = hermite_rule(n)
    assert found == pytest.approx(node, abs=1e-13)
    expected = np.log(weight) - 0.5 * np.log(2 * np.pi) + 0.5 * node**2
    assert raised == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("n", [9, 64, 251, MOST_NODES])
def test_moments(n):
    node, raised = hermite_rule(n)
    weight = np.exp(raised - 0.5 * node**2)
    for power in range(0, min(2 * n, 17), 2):
        expected = special.factorial2(power - 1, exact=True) if power else 1
        assert weight @ node**power == pytest.approx(expected, rel=1e-13)
    assert node == pytest.approx(-node[::-1], abs=1e-13)


def test_products():
    nodes, raised = product_rule(7, 3)
    weight = np.exp(raised - 0.5 * (nodes**2).sum(axis=1))
    moment = (nodes[:, 0] ** 2 * nodes[:, 1] ** 4 * nodes[:, 2] ** 2) @ weight
    assert weight.sum() == pytest.approx(1.0, abs=1e-9)
    assert moment == pytest.approx(3.0, abs=1e-6)
