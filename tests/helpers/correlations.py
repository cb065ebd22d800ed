"""Correlation structures as they are defined, element by element, for complex numbers.

``natural`` maps free parameters to natural ones, ``matrix`` natural ones to the matrix of
one group; each another way than the package goes.  Derivatives of first order are complex
steps, exact to rounding; of second order, differences of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TINY = 1e-30
STEP = 1e-3


@dataclass(frozen=True)
class Definition:
    """A structure in words of its natural parameters.

    Attributes
    ----------
    natural : callable
        psi -> rho.
    matrix : callable
        rho, visits (s,) or distances (s, s) of one group -> (s, s).
    """

    natural: Callable
    matrix: Callable

    def of_free(self, psi, place):
        return self.matrix(self.natural(psi), place)


def first_derivative(function, x):
    """d f / d x of a function of complex numbers, that of x_r in row r."""
    eye = np.eye(len(x))
    return np.array([function(x + 1j * TINY * e).imag / TINY for e in eye])


def second_derivative(function, x):
    """d2 f / d x d x', by differences of complex steps, error of eighth order."""
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}

    def difference(e):
        return sum(
            w
            * (
                first_derivative(function, x + k * e)
                - first_derivative(function, x - k * e)
            )
            for k, w in weights.items()
        )

    return np.array([difference(STEP * e) / STEP for e in np.eye(len(x))])


def symmetric(rng, *shape):
    out = rng.normal(size=shape)
    return out + np.swapaxes(out, -1, -2)


def check_correlation(structure, definition, psi, place, rng, rtol=1e-9, sas=None):
    """A structure agrees with its definition, and with itself, at psi.

    ``sas`` is the definition in SAS's parameters, where those are not the natural ones.
    """
    sas = definition if sas is None else sas
    psi, close = np.asarray(psi, dtype=float), {"rtol": rtol, "atol": rtol}
    exact = {"rtol": 1e-12, "atol": 1e-13}
    n = structure.n_psi
    assert psi.shape == (n,) == (len(structure.names),)

    def whole(x):
        return np.array([definition.of_free(x, p) for p in place])

    def of_sas(rho):
        return np.array([sas.matrix(rho, p) for p in place])

    matrix, rho = structure.matrix(psi, place), structure.natural(psi)
    np.testing.assert_allclose(matrix, whole(psi), **exact)
    np.testing.assert_allclose(rho, definition.natural(psi), **exact)
    np.testing.assert_allclose(structure.natural(structure.free(rho)), rho, **exact)
    np.testing.assert_allclose(structure.free(rho), psi, rtol=1e-9, atol=1e-9)
    jacobian = first_derivative(definition.natural, psi).T
    np.testing.assert_allclose(structure.jacobian(psi), jacobian, **exact)
    tangent = structure.tangent(psi, place)
    assert tangent.shape == (n, *matrix.shape)
    np.testing.assert_allclose(tangent, first_derivative(whole, psi), **exact)

    score = symmetric(rng, *matrix.shape)
    bend = np.einsum("rscab,cab->rs", second_derivative(whole, psi), score)
    np.testing.assert_allclose(structure.bend(psi, place, score), bend, **close)
    weight = symmetric(rng, n, n)
    turned = first_derivative(sas.natural, psi).T
    np.testing.assert_allclose(structure.sas_jacobian(psi), turned, rtol=1e-10, atol=1e-12)
    eta = sas.natural(psi)
    curve = np.einsum("rscab,rs->cab", second_derivative(of_sas, eta), weight)
    np.testing.assert_allclose(structure.curve(psi, place, weight), curve, **close)


def is_definite(matrices):
    """Whether Cholesky's factors exist and matrices are symmetric."""
    np.testing.assert_array_equal(matrices, np.swapaxes(matrices, -1, -2))
    return (
        bool((np.linalg.eigvalsh(matrices)[..., 0] > 0).all())
        and np.isfinite(np.linalg.cholesky(matrices)).all()
    )


# ---- definitions ----


def lags(visits):
    visits = np.asarray(visits)
    return np.abs(visits[:, None] - visits)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def compound_symmetry(m):
    a = 1 / (m - 1)

    def matrix(rho, visits):
        s = len(visits)
        return rho[0] * np.ones((s, s)) + (1 - rho[0]) * np.eye(s)

    return Definition(lambda psi: (1 + a) * logistic(psi) - a, matrix)


def autoregressive():
    return Definition(np.tanh, lambda rho, visits: rho[0] ** lags(visits))


def antedependence():
    def matrix(rho, visits):
        out = [
            [np.prod(rho[min(i, j) : max(i, j)]) for j in visits]
            for i in np.asarray(visits)
        ]
        return np.array(out)

    return Definition(np.tanh, matrix)


def from_partials(partials):
    """Correlations at lags 1 .. n: a partial correlation is that given those between.

    r_k = (rho_k - a'R^-1 b) / sqrt((1 - a'R^-1 a) (1 - b'R^-1 b)), with R of the k - 1
    between, a and b their correlations with the two ends.
    """
    rho = np.ones(1, dtype=np.asarray(partials).dtype)
    for r in partials:
        k = len(rho)
        between = rho[lags(np.arange(k - 1))]
        a, b = rho[1:], rho[1:][::-1]
        of_a, of_b = np.linalg.solve(between, a), np.linalg.solve(between, b)
        rho = np.append(rho, r * np.sqrt((1 - a @ of_a) * (1 - b @ of_b)) + a @ of_b)
    return rho[1:]


def _toeplitz(rho, visits):
    lag = lags(visits)
    beyond = np.zeros(max(lag.max() - len(rho), 0))
    return np.concatenate([[1.0], rho, beyond])[lag]


def toeplitz():
    return Definition(lambda psi: from_partials(np.tanh(psi)), _toeplitz)


def banded():
    return Definition(lambda psi: psi.copy(), _toeplitz)


def unstructured(m):
    a, b = (index[1:] for index in np.tril_indices(m))

    def natural(psi):
        factor = np.eye(m, dtype=np.asarray(psi).dtype)
        factor[a, b] = np.where(a == b, np.exp(psi), psi)
        return (factor @ factor.T)[a, b]

    def matrix(rho, visits):
        sigma = np.eye(m, dtype=np.asarray(rho).dtype)
        sigma[a, b] = sigma[b, a] = rho
        return sigma[np.ix_(visits, visits)]

    return Definition(natural, matrix)


def arma_correlation(ar, ma, n):
    """Autocorrelations at lags 0 .. n: the linear equations of the autocovariances."""
    p, q = len(ar), len(ma)
    m = max(p, q)
    weights = np.zeros(q + 1, np.result_type(ar, ma, float))
    weights[0] = 1
    for j in range(1, q + 1):
        weights[j] = ma[j - 1] + sum(ar[i] * weights[j - 1 - i] for i in range(min(p, j)))
    theta = np.concatenate([[1.0], ma])
    right = np.array(
        [sum(theta[j] * weights[j - k] for j in range(k, q + 1)) for k in range(m + 1)]
    )
    left = np.zeros((m + 1, m + 1), weights.dtype)
    for k in range(m + 1):
        left[k, k] += 1
        for j in range(p):
            left[k, abs(k - j - 1)] -= ar[j]
    gamma = list(np.linalg.solve(left, right))
    for k in range(m + 1, n + 1):
        gamma.append(sum((ar[j] * gamma[k - j - 1] for j in range(p)), 0 * gamma[0]))
    return np.array(gamma[: n + 1]) / gamma[0]


def coefficients(partials):
    """Of the autoregression with these partials: R phi = rho."""
    rho = from_partials(partials)
    if not len(rho):
        return rho
    table = np.concatenate([[1.0], rho])
    return np.linalg.solve(table[lags(np.arange(len(rho)))], rho)


def arma(p):
    def natural(psi):
        ar, ma = coefficients(np.tanh(psi[:p])), coefficients(np.tanh(-psi[p:]))
        return np.concatenate([ar, -ma])

    def matrix(rho, visits):
        lag = lags(visits)
        return arma_correlation(rho[:p], rho[p:], int(lag.max()))[lag]

    return Definition(natural, matrix)


SHAPES = {
    "exp": lambda u: np.exp(-u),
    "gau": lambda u: np.exp(-(u**2)),
    "ratio": lambda u: 1 / (1 + u**2),
    "spher": lambda u: np.where(np.real(u) < 1, 1 - 1.5 * u + 0.5 * u**3, 0 * u),
    "lin": lambda u: np.where(np.real(u) < 1, 1 - u, 0 * u),
}


def arma_of_sas():
    """ARMA(1, 1) by rho and gamma: gamma rho^(k - 1) at lag k."""
    own = arma(1)

    def natural(psi):
        ar, ma = own.natural(psi)
        return np.array([ar, (1 + ar * ma) * (ar + ma) / (1 + 2 * ar * ma + ma**2)])

    def matrix(eta, visits):
        lag = lags(visits)
        return np.where(lag == 0, 1.0, eta[1] * eta[0] ** np.maximum(lag - 1, 0))

    return Definition(natural, matrix)


def spatial(kind, scale=1.0):
    def natural(psi):
        size = scale * np.exp(psi[:1])
        first = np.exp(-1 / size) if kind == "pow" else size
        return np.concatenate([first, logistic(psi[1:])])

    def matrix(rho, distance):
        out = rho[0] ** distance if kind == "pow" else SHAPES[kind](distance / rho[0])
        if len(rho) > 1:
            out = np.where(np.eye(len(distance), dtype=bool), out, (1 - rho[1]) * out)
        return out

    return Definition(natural, matrix)


def distances(rng, c, s, dimensions=2):
    """Euclidean distances (c, s, s) of random places."""
    place = rng.normal(size=(c, s, dimensions))
    return np.sqrt(np.sum((place[:, :, None] - place[:, None]) ** 2, axis=-1))
