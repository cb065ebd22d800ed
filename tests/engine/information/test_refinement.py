"""The criterion on data that make raw cross-products lose all their digits.

The reference is computed group by group in extended precision (80 bits where the platform
has them), with an orthonormal basis of X.
"""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx

N_GROUPS, SIZE = 200, 15
N = N_GROUPS * SIZE
LONG = np.longdouble

pytestmark = pytest.mark.skipif(
    np.finfo(LONG).eps > 1e-18, reason="the platform has no extended precision"
)


def orthonormal(x):
    """Q and R of the columns by Gram and Schmidt, twice."""
    q, r = x.astype(LONG).copy(), np.eye(x.shape[1], dtype=LONG)
    for _ in range(2):
        step = np.zeros_like(r)
        for j in range(q.shape[1]):
            for i in range(j):
                step[i, j] = (q[:, i] * q[:, j]).sum()
                q[:, j] -= step[i, j] * q[:, i]
            step[j, j] = np.sqrt((q[:, j] ** 2).sum())
            q[:, j] /= step[j, j]
        r = step @ r
    return q, r


def cholesky(a):
    """Cholesky factors of a stack of matrices."""
    out = np.zeros_like(a)
    for j in range(a.shape[-1]):
        pivot = a[..., j, j] - (out[..., j, :j] ** 2).sum(axis=-1)
        out[..., j, j] = np.sqrt(pivot)
        rest = a[..., j + 1 :, j] - (out[..., j + 1 :, :j] * out[..., j, None, :j]).sum(-1)
        out[..., j + 1 :, j] = rest / out[..., j, j, None]
    return out


def solve(factor, b):
    """Forward substitution for a stack of factors."""
    out = np.zeros_like(b)
    for j in range(factor.shape[-1]):
        done = (factor[..., j, :j, None] * out[..., :j, :]).sum(axis=-2)
        out[..., j, :] = (b[..., j, :] - done) / factor[..., j, j, None]
    return out


def reference(y, x, z, lam):
    """REML deviance with all constants, rows sorted by group."""
    q, r = orthonormal(x)
    y = y.astype(LONG)
    for _ in range(2):
        y = y - q @ (q.T @ y)
    z = z.astype(LONG).reshape(N_GROUPS, SIZE, -1)
    effect = z @ lam.astype(LONG)
    factor = cholesky(np.eye(SIZE, dtype=LONG) + effect @ effect.transpose(0, 2, 1))
    columns = np.column_stack([q, y]).reshape(N_GROUPS, SIZE, -1)
    solved = solve(factor, columns).reshape(N, -1)
    whole = cholesky((solved.T @ solved)[None])[0]
    p, log = x.shape[1], np.log
    log_det = 2 * log(np.diagonal(factor, axis1=1, axis2=2)).sum()
    log_det += 2 * log(np.diag(whole)[:p]).sum() + 2 * log(np.abs(np.diag(r))).sum()
    d = LONG(N - p)
    return log_det + d * (1 + log(2 * LONG(np.pi) * whole[-1, -1] ** 2 / d))


def uncentred(lam, mean):
    """Factor for a covariate whose factor would be ``lam`` were its mean not ``mean``."""
    moved = np.array([[1.0, -mean], [0.0, 1.0]]) @ lam
    lower = np.linalg.qr(moved.T, mode="r").T
    return lower * np.sign(np.diag(lower))


def columns(case, rng):
    """y, X, Z and lam of one case of the table."""
    u = rng.normal(size=N)
    x, z = np.column_stack([np.ones(N), u]), np.ones((N, 1))
    y = 2.0 + u + np.repeat(rng.normal(size=N_GROUPS), SIZE) + rng.normal(size=N)
    lam = np.array([[0.9]])
    slopes = np.array([[0.9, 0.0], [0.2, 0.5]])
    if case.startswith("y + "):
        y = y + float(case[4:])
    elif case == "x = 2000 + x":
        x[:, 1] += 2000
    elif case == "x = 1e6 + x in X and Z":
        x[:, 1] += 1e6
        z, lam = x.copy(), uncentred(slopes, 1e6)
    elif case == "time stamps in X and Z":
        x[:, 1] = np.round(1.6e9 + 1e3 * u)
        z, lam = x.copy(), uncentred(slopes * [[1, 1], [1e-3, 1e-3]], 1.6e9)
    elif case == "x * 1e8":
        x[:, 1] *= 1e8
    elif case == "raw quartic":
        x = (50 + 5 * u)[:, None] ** np.arange(5)
    elif case == "collinear to 1e-6":
        x = np.column_stack([x, u + 1e-6 * rng.normal(size=N)])
    elif case == "collinear to 3e-7":
        x = np.column_stack([x, u + 3e-7 * rng.normal(size=N)])
    elif case == "sigma_e / sigma_b = 1e-5":
        y = np.repeat(rng.normal(size=N_GROUPS), SIZE) + 1e-5 * (u + rng.normal(size=N))
        lam = np.array([[1e5]])
    elif case == "X explains y to 1e-10 and is collinear to 1e-4":
        x = np.column_stack([x, u + 1e-4 * rng.normal(size=N)])
        y = 1e-2 * y + 1e8 * (x[:, 1] + x[:, 2])
    elif case == "no intercept, y + 1e6":
        x, y = u[:, None] + 3.0, y + 1e6
    return y, x, z, lam


CASES = [
    "clean",
    "y + 1e4",
    "y + 1e6",
    "y + 1e8",
    "x = 2000 + x",
    "x = 1e6 + x in X and Z",
    "time stamps in X and Z",
    "x * 1e8",
    "raw quartic",
    "collinear to 1e-6",
    "collinear to 3e-7",
    "sigma_e / sigma_b = 1e-5",
    "X explains y to 1e-10 and is collinear to 1e-4",
    "no intercept, y + 1e6",
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_criterion_keeps_its_digits(case, seed):
    y, x, z, lam = columns(case, np.random.default_rng(seed))
    want = reference(y, x, z, lam)
    model = mx.MixedLM(y, x, groups=np.repeat(np.arange(N_GROUPS), SIZE), exog_re=z)
    theta = lam.T[np.triu_indices(len(lam))]
    got, _ = model.objective(theta)
    assert abs(got - want) <= 1e-8 * abs(want)


def test_a_column_that_depends_on_others_to_1e_8_is_dropped():
    """As R's qr does: 1e-7 of a column's length."""
    rng = np.random.default_rng(0)
    y, x, z, lam = columns("clean", rng)
    more = np.column_stack([x, x[:, 1] + 1e-8 * rng.normal(size=N)])
    groups = np.repeat(np.arange(N_GROUPS), SIZE)
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.MixedLM(y, more, groups=groups, exog_re=z)
    got, _ = model.objective(lam[0])
    want = reference(y, x, z, lam)
    assert abs(got - want) <= 1e-8 * abs(want)
