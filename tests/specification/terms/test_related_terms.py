"""Random effects of levels that are related, against dense algebra."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import mixedext as mx

pytestmark = pytest.mark.formula_engine


class Animals:
    """Records of some of several animals, with the dense model."""

    def __init__(self, seed=2, q=12, seen=9, n=50):
        rng = np.random.default_rng(seed)
        half = rng.normal(size=(q, q + 4))
        self.names = [f"a{i}" for i in range(q)]
        order = rng.permutation(self.names)
        relation = half @ half.T / (q + 4) + 0.2 * np.eye(q)
        self.relation = pd.DataFrame(relation, self.names, self.names).loc[order, order]
        animal = rng.choice(self.names[:seen], n)
        x = rng.normal(size=n)
        effect = pd.Series(
            1.5 * np.linalg.cholesky(relation) @ rng.normal(size=q), self.names
        )
        y = 1 + x + effect[animal].to_numpy() + rng.normal(size=n)
        self.data = pd.DataFrame({"animal": animal, "x": x, "y": y})
        self.x = np.column_stack([np.ones(n), x])
        self.z = (animal[:, None] == np.asarray(self.relation.index)).astype(float)

    def fit(self):
        related = {"animal": self.relation}
        return mx.mixedlm("y ~ x + (1 | animal)", self.data, covariances=related).fit()

    def dense(self, result):
        """V, modes, their errors given beta and with it, at the estimates."""
        variance, scale = result.var_corr["variance"]
        a, y = self.relation.to_numpy(), self.data.y.to_numpy()
        v = variance * self.z @ a @ self.z.T + scale * np.eye(len(y))
        inverse = np.linalg.inv(v)
        phi = np.linalg.inv(self.x.T @ inverse @ self.x)
        beta = phi @ self.x.T @ inverse @ y
        cross = variance * a @ self.z.T
        p = inverse - inverse @ self.x @ phi @ self.x.T @ inverse
        modes = cross @ inverse @ (y - self.x @ beta)
        given = np.diag(variance * a - cross @ inverse @ cross.T)
        whole = np.diag(variance * a - cross @ p @ cross.T)
        logs = np.linalg.slogdet(v)[1] - np.linalg.slogdet(phi)[1]
        llf = -0.5 * (logs + y @ p @ y + (len(y) - 2) * np.log(2 * np.pi))
        index = self.relation.index
        return llf, *(pd.Series(own, index) for own in (modes, given, whole))


@pytest.fixture(scope="module")
def animals():
    return Animals()


@pytest.fixture(scope="module")
def result(animals):
    return animals.fit()


def test_likelihood_and_modes_are_those_of_the_dense_model(animals, result):
    llf, modes, given, whole = animals.dense(result)
    assert result.llf == pytest.approx(llf, rel=1e-12)
    own = result.ranef("animal")["Intercept"]
    assert set(own.index) == set(animals.names)  # also of those without records
    np.testing.assert_allclose(own, modes[own.index], rtol=1e-9)
    for beta, expected in ((True, given), (False, whole)):
        found = result.ranef_cov("animal", given_beta=beta)["Intercept"].droplevel(1)
        np.testing.assert_allclose(found, expected[found.index], rtol=1e-9)
    variance = result.var_corr["variance"][0]
    a = pd.Series(np.diag(animals.relation), animals.relation.index)
    found = result.reliability("animal")["Intercept"]
    np.testing.assert_allclose(found, (1 - whole / (variance * a))[found.index])


def test_predictions_of_animals_without_records(animals, result):
    new = pd.DataFrame({"animal": ["a0", "a11"], "x": [0.0, 1.0]})
    _, modes, *_ = animals.dense(result)
    fixed = result.fe_params["Intercept"] + result.fe_params["x"] * new.x
    expected = fixed + modes[new.animal].to_numpy()
    np.testing.assert_allclose(result.predict(new), expected)
    frame = result.get_prediction(new).summary_frame()
    np.testing.assert_allclose(frame["mean"], expected)
    variance, scale = result.var_corr["variance"]
    a, y = animals.relation, animals.data.y.to_numpy()
    v = variance * animals.z @ a.to_numpy() @ animals.z.T + scale * np.eye(len(y))
    inverse = np.linalg.inv(v)
    phi = np.linalg.inv(animals.x.T @ inverse @ animals.x)
    cross = variance * a.loc[new.animal].to_numpy() @ animals.z.T
    left = np.column_stack([np.ones(2), new.x]) - cross @ inverse @ animals.x
    prior = variance * a.loc[new.animal, new.animal].to_numpy()
    error = prior - cross @ inverse @ cross.T + left @ phi @ left.T
    np.testing.assert_allclose(frame["mean_se"], np.sqrt(np.diag(error)))
    with pytest.raises(ValueError, match="levels of 'animal' that the fit had not: zz"):
        result.predict(new.assign(animal="zz"))


def test_matrices_are_of_the_animals(animals, result):
    v = np.asarray(result.V().values.todense())
    llf_v = animals.dense(result)
    variance, scale = result.var_corr["variance"]
    dense = variance * animals.z @ animals.relation.to_numpy() @ animals.z.T
    np.testing.assert_allclose(v, dense + scale * np.eye(len(v)), atol=1e-12)
    g = np.asarray(result.G().values.todense())
    np.testing.assert_allclose(g, variance * animals.relation.to_numpy(), atol=1e-12)
    assert llf_v[0] == pytest.approx(result.llf)


def test_other_statements_of_the_same(animals, result):
    data, relation = animals.data, animals.relation
    inverse = pd.DataFrame(np.linalg.inv(relation), relation.index, relation.columns)
    seen = sorted(data.animal.unique())
    root = np.linalg.cholesky(relation)
    sparse_one = pd.DataFrame.sparse.from_spmatrix(
        sparse.csr_array(relation.to_numpy()), relation.index, relation.columns
    )
    terms = [
        mx.RandomTerm(data.animal, precision=inverse, group="animal"),
        mx.RandomTerm(data.animal, covariance=sparse_one, group="animal"),
        mx.RandomTerm(data.animal, covariance=relation.loc[seen, seen].to_numpy()),
        mx.SparseTerm(animals.z @ root, group="animal"),
    ]
    for term in terms:
        other = mx.MixedLM(data.y, animals.x, terms=[term]).fit()
        assert other.llf == pytest.approx(result.llf, rel=1e-12)
        np.testing.assert_allclose(other.fittedvalues, result.fittedvalues, rtol=1e-8)
    found = mx.MixedLM(data.y, animals.x, terms=[terms[0]]).fit().ranef("animal")
    own = result.ranef("animal")
    np.testing.assert_allclose(found.loc[own.index], own, rtol=1e-6)


def test_no_relation_is_a_plain_random_intercept(animals):
    data = animals.data
    count = data.animal.nunique()
    plain = mx.mixedlm("y ~ x + (1 | animal)", data).fit()
    term = mx.RandomTerm(data.animal, covariance=np.eye(count), group="animal")
    related = mx.MixedLM(data.y, animals.x, terms=[term]).fit()
    assert related.llf == pytest.approx(plain.llf, rel=1e-13)
    np.testing.assert_allclose(related.ranef("animal"), plain.ranef("animal"), rtol=1e-8)
    np.testing.assert_allclose(
        related.ranef_cov("animal"), plain.ranef_cov("animal"), rtol=1e-8
    )


def test_a_slope_by_related_levels(animals):
    slope = pd.Series(np.linspace(-3, 3, 12), animals.names)
    data = animals.data.assign(
        y=animals.data.y + animals.data.x * animals.data.animal.map(slope)
    )
    related = {"animal": animals.relation}
    result = mx.mixedlm("y ~ x + (0 + x | animal)", data, covariances=related).fit()
    root = np.linalg.cholesky(animals.relation)
    term = mx.SparseTerm(data.x.to_numpy()[:, None] * animals.z @ root)
    other = mx.MixedLM(data.y, animals.x, terms=[term]).fit()
    assert result.llf == pytest.approx(other.llf, rel=1e-12)
    assert result.ranef("animal").columns.tolist() == ["x"]
    np.testing.assert_allclose(result.predict(data), result.fittedvalues, rtol=1e-10)


def test_twins_have_a_singular_relation(animals):
    data, names = animals.data, animals.names
    twin = animals.relation.copy()
    twin.loc["a1"], twin["a1"] = twin.loc["a0"], twin["a0"]
    twin.loc["a1", "a1"] = twin.loc["a0", "a0"]
    result = mx.mixedlm("y ~ x + (1 | animal)", data, covariances={"animal": twin}).fit()
    modes = result.ranef("animal")["Intercept"]
    assert modes["a0"] == pytest.approx(modes["a1"])
    assert len(modes) == len(names)


def test_copies_and_removed_data(result):
    copy = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(copy.ranef("animal"), result.ranef("animal"))
    copy.remove_data()
    pd.testing.assert_frame_equal(copy.ranef("animal"), result.ranef("animal"))


def test_simulated_responses_have_the_relation(animals, result):
    y = np.asarray(result.simulate(4000, rng=3))
    observed = np.cov(y)
    expected = np.asarray(result.V().values.todense())
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((observed - expected) / size).max() < 0.12


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda a: a.drop(index="a0"), ValueError, "same names of rows and columns"),
        (lambda a: a.drop("a0").drop(columns="a0"), ValueError, "no row of 'a0'"),
        (lambda a: a - 5 * np.eye(12), mx.DesignError, "least eigenvalue is -"),
        (lambda a: a + np.triu(np.ones((12, 12)), 1), ValueError, "is not symmetric"),
        (lambda a: a.replace(a.iloc[3, 3], np.nan), ValueError, "missing or infinite"),
        (lambda a: a.rename({"a1": "a0"}), ValueError, "'a0' twice"),
        (lambda a: a.to_numpy(), ValueError, "12 rows without names.*9 levels"),
        (lambda a: a.to_numpy()[:5], ValueError, "expected a square"),
        (lambda a: a.map(str) + "x", ValueError, "is not numeric"),
    ],
)
def test_matrices_that_cannot_be(animals, change, error, match):
    with pytest.raises(error, match=match):
        mx.RandomTerm(animals.data.animal, covariance=change(animals.relation))


def test_labels_of_another_type(animals):
    number = animals.data.animal.str[1:].astype(int)
    with pytest.raises(ValueError, match="another type, numbers or text"):
        mx.RandomTerm(
            number,
            covariance=animals.relation.rename(lambda n: n[1:]).rename(
                columns=lambda n: n[1:]
            ),
        )


def test_arguments_that_cannot_be(animals):
    relation, animal = animals.relation, animals.data.animal
    with pytest.raises(ValueError, match="give one of them"):
        mx.RandomTerm(animal, covariance=relation, precision=relation)
    with pytest.raises(NotImplementedError, match="beside a known relationship"):
        mx.RandomTerm(animal, covariance=relation, structure="diagonal")
    with pytest.raises(mx.DesignError, match="not positive definite: it is the inverse"):
        mx.RandomTerm(animal, precision=relation * 0.0)
    with pytest.raises(NotImplementedError, match="2 columns"):
        mx.RandomTerm(animal, np.ones((50, 2)), covariance=relation)
