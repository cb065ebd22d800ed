"""The matrices against dense algebra, for fits of all kinds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.linalg import block_diag

import mixedext as mx
from mixedext.reporting.matrices import _roots

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

FORMULAS = {
    "slopes": "y ~ x + (x | g)",
    "uncorrelated": "y ~ x + (x || g)",
    "crossed": "y ~ x + (1 | g) + (1 | h)",
    "nested": "y ~ x + (1 | g / h)",
    "deficient": "y ~ x + twice + (1 | g)",
    "no fixed effects": "y ~ 0 + (1 | g)",
    "no random effects": "y ~ x",
}


def rows(seed=0, n=60):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"x": rng.standard_normal(n)})
    data["g"] = np.sort(rng.integers(0, 6, n)).astype(str)
    data["h"] = rng.integers(0, 5, n)
    data["twice"], data["w"] = 2 * data["x"], rng.uniform(0.5, 2, n)
    effects = rng.standard_normal((6, 2))[data["g"].astype(int)]
    data["y"] = 3 + effects[:, 0] + (1 + effects[:, 1]) * data["x"]
    data["y"] += rng.standard_normal(n)
    return data.set_index(pd.Index([f"r{i}" for i in range(n)]))


@pytest.fixture(scope="module", params=FORMULAS)
def formula(request):
    return FORMULAS[request.param]


@pytest.fixture(scope="module", params=["REML", "ML", "weights", "offset"])
def result(request, formula):
    kind = request.param
    more = {"weights": "w"} if kind == "weights" else {}
    more = {"offset": "w"} if kind == "offset" else more
    return mx.mixedlm(formula, rows(), **more).fit(reml=kind != "ML")


def test_rows_follow_from_x_and_z(result):
    model = result.model
    np.testing.assert_array_equal(model.X, model.exog)
    assert model.X.columns.tolist() == model.exog_names
    assert model.X.index.equals(rows().index)
    mean = model.X.to_numpy() @ np.nan_to_num(result.fe_params)
    if model.offset is not None:
        mean = mean + model.offset
    if model.random_terms:
        effects = np.concatenate([e.ravel() for e in result.fitted.fit.effects])
        mean = mean + model.Z().values @ effects
    np.testing.assert_allclose(mean, result.fittedvalues, rtol=1e-12)


def test_likelihood_follows_from_v(result):
    """-2 log-likelihood of the dense normal density, restricted or not."""
    v, model = result.V().toarray(), result.model
    x = model.exog[:, result.fitted.fixed.kept]
    y = model.endog - (0 if model.offset is None else model.offset)
    inverse = np.linalg.inv(v)
    beta = result.fe_params.dropna().to_numpy()
    rest, n = y - x @ beta, len(y)
    value = np.linalg.slogdet(v)[1] + rest @ inverse @ rest + n * np.log(2 * np.pi)
    if result.reml:
        p = x.shape[1]
        value += np.linalg.slogdet(x.T @ inverse @ x)[1] - p * np.log(2 * np.pi)
    np.testing.assert_allclose(value, result.deviance, rtol=1e-10)


def test_v_is_zgz_and_r(result):
    r = result.R().toarray()
    w = 1 if result.model.weights is None else result.model.weights
    np.testing.assert_allclose(np.diag(r), np.ones(len(r)) * result.scale / w)
    assert not (r - np.diag(np.diag(r))).any()
    if result.model.random_terms:
        z, g = result.model.Z().toarray(), result.G().toarray()
        np.testing.assert_allclose(z @ g @ z.T + r, result.V(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(z @ z.T, result.model.ZZt(), atol=1e-13)
    else:
        for ask in (result.model.Z, result.model.ZZt, result.G):
            with pytest.raises(ValueError, match="no random effects"):
                ask()


def test_criterion_is_read_off_l(result):
    factor, model = result.L(), result.model
    diagonal = factor.values.diagonal()
    q = len(diagonal) - result.fitted.fixed.rank - 1
    dof = result.nobs - (result.fitted.fixed.rank if result.reml else 0)
    np.testing.assert_allclose(diagonal[-1] ** 2 / dof, result.scale, rtol=1e-10)
    value = 2 * np.log(diagonal[:q]).sum() + dof * (1 + np.log(2 * np.pi * result.scale))
    if result.reml:
        value += 2 * np.log(diagonal[q:-1]).sum()
    if model.weights is not None:
        value -= np.log(model.weights).sum()
    np.testing.assert_allclose(value, result.deviance, rtol=1e-10)


def test_l_is_the_factor_of_the_cross_products(result):
    factor, model, fitted = result.L(), result.model, result.fitted
    y = model.endog - (0 if model.offset is None else model.offset)
    columns = [model.exog[:, fitted.fixed.kept], y[:, None]]
    if model.random_terms:
        blocks = zip(fitted.random.terms, fitted.fit.lams, strict=True)
        lam = block_diag(*(np.kron(np.eye(t.n_levels), own) for t, own in blocks))
        columns.insert(0, model.Z().toarray() @ lam)
    whole = np.hstack(columns)
    w = np.ones(len(y)) if model.weights is None else model.weights
    omega = whole.T @ (w[:, None] * whole)
    q = omega.shape[0] - fitted.fixed.rank - 1
    omega[:q, :q] += np.eye(q)
    np.testing.assert_allclose(factor.toarray() @ factor.toarray().T, omega, atol=1e-9)
    assert not np.triu(factor.toarray(), 1).any()
    assert factor.index[-1] == "y"
    assert set(factor.row_lines) <= set(range(1, len(omega)))


def test_roots_of_variances_that_hide_the_identity():
    """Of two equal columns z the second pivot of z'z 11' + I is (1 + 2 z'z) / (1 + z'z)."""
    z = sparse.csr_array(np.full((12, 2), 1e9))
    gram = (z.T @ z).toarray() + np.eye(2)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(gram)
    (root,) = _roots(gram[None], z, np.arange(2)[None])
    assert root[1, 1] == pytest.approx(np.sqrt(2), rel=1e-7)
    assert root[0, 1] == 0.0
    np.testing.assert_allclose(root @ root.T, gram, rtol=1e-14)


def test_names_and_lines():
    data = rows()
    result = mx.mixedlm("y ~ x + (x | g) + (1 | h)", data).fit()
    z = result.model.Z()
    frame = z.to_frame()
    assert z.columns.names == ["group", "level", "effect"]
    own = (data["g"] == "3") * data["x"]
    np.testing.assert_allclose(frame["g", "3", "x"], own)
    np.testing.assert_allclose(frame["h", 2, "Intercept"], data["h"] == 2)
    assert z.column_lines == (12,)
    assert result.G().columns.equals(z.columns)
    assert result.L().index[:2].tolist() == ["g[0]", "g[0] x"]
    assert " | " in repr(result.G())


def test_lines_stand_between_levels_in_order():
    data = rows()
    sizes = data["g"].value_counts(sort=False).cumsum()[:-1]
    assert mx.mixedlm("y ~ x + (1 | g)", data).ZZt().row_lines == tuple(sizes)
    mixed = data.sample(frac=1, random_state=1)
    assert mx.mixedlm("y ~ x + (1 | g)", mixed).ZZt().row_lines == ()


def test_several_memberships():
    rng = np.random.default_rng(2)
    matrix = (rng.random((50, 5)) < 0.4) * 1.0
    term = mx.SparseTerm(matrix, group="school")
    y = matrix @ rng.standard_normal(5) + rng.standard_normal(50)
    result = mx.MixedLM(y, np.ones((50, 1)), terms=[term]).fit()
    np.testing.assert_array_equal(result.model.Z(), matrix)
    v = result.V().toarray()
    own = result.G().values.diagonal()[0]
    np.testing.assert_allclose(v, own * matrix @ matrix.T + result.scale * np.eye(50))


def test_singular_fits_have_zeros():
    data = mx.datasets.dyestuff2.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    assert result.is_singular
    assert result.G().values.nnz == 0
    np.testing.assert_allclose(result.V(), result.scale * np.eye(30))
    np.testing.assert_allclose(result.L().values.diagonal()[:6], 1)


def test_large_dense_matrices_are_announced():
    rng = np.random.default_rng(3)
    n = 2100
    data = pd.DataFrame({"g": np.arange(n) // 1900, "y": rng.standard_normal(n)})
    data["few"] = np.arange(n) // 10
    model = mx.mixedlm("y ~ 1 + (1 | g)", data)
    with pytest.warns(mx.DenseMatrixWarning, match="2100 x 2100"):
        model.ZZt()
    sparse = mx.mixedlm("y ~ 1 + (1 | few)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sparse.ZZt()
    with pytest.warns(mx.DenseMatrixWarning, match="ZZ'"):
        found.to_frame()
    assert "the first 40 x 16" in repr(found)


def test_rows_that_are_gone():
    result = mx.mixedlm("y ~ x + (1 | g)", rows()).fit()
    result.remove_data()
    assert result.G().shape == (6, 6)
    for ask in (result.V, result.R, result.L, result.model.Z, lambda: result.model.X):
        with pytest.raises(ValueError, match="removed"):
            ask()


def test_html_escapes_names():
    z = mx.mixedlm("y ~ x + (1 | g)", rows().assign(g=lambda d: "<" + d["g"])).Z()
    text = z._repr_html_()
    assert "g[&lt;0]" in text
    assert "<th>g[<" not in text


def test_no_more_columns_are_printed_than_a_line_has_room_for():
    data = rows().rename(columns={"x": "a_name_of_some_length", "g": "a_long_factor"})
    formula = "y ~ 1 + (a_name_of_some_length | a_long_factor)"
    printed = repr(mx.mixedlm(formula, data).Z()).splitlines()
    assert max(map(len, printed)) <= 160
    assert printed[1].split()[0] == "a_long_factor[0]"  # above the effect's name
    assert printed[2].split()[:2] == ["a_long_factor[0]", "a_name_of_some_length"]
    shown = int(printed[0].rpartition(" x ")[2])
    assert 1 < shown < 16
    assert len(printed[3].replace("|", "").split()) == shown + 1
