"""Tables of replicates."""

from __future__ import annotations

import numpy as np

import mixedext as mx


def bootstrap(n=200):
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    return result, result.bootstrap_parametric(n, rng=1)


def test_estimates_are_those_of_the_results():
    result, found = bootstrap()
    table = result.var_corr
    (first, second), cor = table["sd"][:2], table["corr"][1]
    want = [*result.fe_params, first, cor, second, result.sigma]
    np.testing.assert_allclose(found.estimate, want, rtol=1e-12)


def test_the_table_is_of_the_replicates():
    _, found = bootstrap()
    table, replicates = found.table, found.replicates
    np.testing.assert_allclose(table["bias"], replicates.mean() - found.estimate)
    np.testing.assert_allclose(table["std_err"], replicates.std())
    np.testing.assert_array_equal(table["n"], replicates.notna().sum())
    limits = found.conf_int()
    np.testing.assert_array_equal(table[["lower", "upper"]], limits)
    assert repr(found).startswith("Bootstrap (parametric): 200 replicates, 0 failed, ")
    assert "0 failed" in found._repr_html_()


def test_variances_are_squares():
    _, found = bootstrap()
    squares = found.as_variances()
    name = " Days|Subject"
    np.testing.assert_allclose(
        squares.conf_int(method="shortest").shape, found.conf_int().shape
    )
    np.testing.assert_array_equal(
        squares.replicates[f"var{name}"], found.replicates[f"sd{name}"] ** 2
    )
    # quantiles go over into quantiles of squares, but for interpolation between two
    np.testing.assert_allclose(
        squares.conf_int().loc["residual"],
        found.conf_int().loc["sigma"] ** 2,
        rtol=1e-3,
    )
    correlation = "cor Intercept.Days|Subject"
    np.testing.assert_array_equal(
        squares.replicates[correlation], found.replicates[correlation]
    )
    assert squares.estimate[correlation] == found.estimate[correlation]
    assert f"sd{name}" in found.replicates  # the first is what it was
    assert squares.as_variances().estimate.equals(squares.estimate)


def test_fixed_effects_may_have_any_name():
    data = mx.datasets.sleepstudy.load().data.rename(columns={"Days": "sigma"})
    result = mx.mixedlm("Reaction ~ sigma + (1 | Subject)", data).fit()
    found = result.bootstrap_parametric(20, rng=1)
    assert list(found.replicates) == [
        "Intercept",
        "sigma.2",
        "sd Intercept|Subject",
        "sigma",
    ]
    assert found.estimate["sigma"] == result.sigma
    squares = found.as_variances().estimate
    assert squares["sigma.2"] == result.fe_params["sigma"]
    np.testing.assert_allclose(squares["residual"], result.scale, rtol=1e-14)
