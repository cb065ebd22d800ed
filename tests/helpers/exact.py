"""One grouping factor by dense n x n algebra in 80 decimal digits, for a few rows.

For variance ratios that no matrix I + Z lam lam' Z' of floating-point numbers would hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np

DIGITS = 80


def decimals(a) -> np.ndarray:
    """The numbers themselves, exactly."""
    return np.vectorize(Decimal, otypes=[object])(np.asarray(a, float))


def _root(a):
    a, n = a.copy(), len(a)
    for j in range(n):
        a[j, j] = a[j, j].sqrt()
        a[j + 1 :, j] = a[j + 1 :, j] / a[j, j]
        for i in range(j + 1, n):
            a[i:, i] = a[i:, i] - a[i:, j] * a[i, j]
    return a


def _forward(root, b):
    b = b.copy()
    for j in range(len(root)):
        b[j] = b[j] / root[j, j]
        b[j + 1 :] = b[j + 1 :] - np.multiply.outer(root[j + 1 :, j], b[j])
    return b


def _log_det(root):
    return 2 * sum((root[j, j].ln() for j in range(len(root))), Decimal(0))


@dataclass
class OneFactorExact:
    """Deviance, derivatives and effects in the engine's units, correctly rounded."""

    deviance: float
    gradient: np.ndarray
    hessian: np.ndarray
    score: np.ndarray
    score_terms: float  # the largest of what the score is a difference of
    residual_square: float
    coefficients: np.ndarray
    effects: np.ndarray
    covariances: np.ndarray


def one_factor(y, x, z, codes, lam, basis, reml) -> OneFactorExact:
    """All of it at lam (K, K), a sum over theta of ``basis`` (n_theta, K, K).

    ``x`` is orthonormal in effect: the engine's units, as ``y`` and ``z``.
    """
    with localcontext() as context:
        context.prec = DIGITS
        return _one_factor(y, x, z, codes, decimals(lam), basis, reml)


def _one_factor(y, x, z, codes, lam, basis, reml):
    n, rank = x.shape
    n_levels, k = codes.max() + 1, z.shape[1]
    wide = decimals(np.zeros((n, n_levels * k)))
    for i in range(n):
        wide[i, codes[i] * k : (codes[i] + 1) * k] = z[i]
    image = np.hstack([wide[:, a * k : (a + 1) * k] @ lam for a in range(n_levels)])
    root = _root(image @ image.T + decimals(np.eye(n)))
    solved = _forward(root, np.column_stack([x, y, wide]))
    whole = solved[:, : rank + 1]
    fixed = _root(whole.T @ whole)
    square = fixed[rank, rank] ** 2
    dof = Decimal(n - rank if reml else n)
    pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230782")
    deviance = _log_det(root) + dof * (1 + (2 * pi * square / dof).ln())
    if reml:
        deviance += _log_det(fixed[:rank, :rank])
    # rows of L_X^-1 X'V0^-1/2; coefficients
    q = _forward(fixed[:rank, :rank], whole[:, :rank].T) if rank else whole[:, :0].T
    residual = whole[:, rank] - (q.T @ (q @ whole[:, rank]) if rank else 0)
    beta = np.zeros(rank, object)
    for j in range(rank - 1, -1, -1):
        rest = fixed[rank, j] - sum(fixed[i, j] * beta[i] for i in range(j + 1, rank))
        beta[j] = rest / fixed[j, j]
    random = solved[:, rank + 1 :]
    v = (random.T @ residual).reshape(n_levels, k)
    scale = dof / square
    squares = scale * (v.T @ v)
    curvature = 0
    score = -squares
    for a in range(n_levels):
        own = random[:, a * k : (a + 1) * k]
        curvature = curvature + own.T @ own
        if reml and rank:
            score = score - (q @ own).T @ (q @ own)
    score = score + curvature
    # average information of the elements of theta
    moves, weighted = [], []
    for b in basis:
        b = decimals(b)
        move = b @ lam.T + lam @ b.T
        moves.append(move)
        w = random @ (v @ move).reshape(-1)
        weighted.append(w - (q.T @ (q @ w) if rank else 0))
    count = len(basis)
    gradient, hessian = np.empty(count), np.empty((count, count))
    for r in range(count):
        b = decimals(basis[r])
        gradient[r] = float(2 * (b * (score @ lam)).sum())
        for s in range(count):
            average = scale * (weighted[r] @ weighted[s])
            first = (moves[r] * (v.T @ v)).sum()
            average -= scale**2 / dof * first * (moves[s] * (v.T @ v)).sum()
            bend = 2 * (score * (b @ decimals(basis[s]).T)).sum()
            hessian[r, s] = float(average + bend)
    sigma = lam @ lam.T
    covariances = []
    for a in range(n_levels):
        own = random[:, a * k : (a + 1) * k]
        covariances.append((sigma - sigma @ (own.T @ own) @ sigma).astype(float))
    return OneFactorExact(
        float(deviance),
        gradient,
        hessian,
        score.astype(float),
        max(np.abs(part.astype(float)).max() for part in (squares, curvature)),
        float(square),
        beta.astype(float),
        (v @ sigma).astype(float),
        np.array(covariances),
    )


def engine_rows(design, y, x, terms, weights=None):
    """y, X and Z of the rows in the engine's units, exact but for the given factors."""
    with localcontext() as context:
        context.prec = DIGITS
        root = [Decimal(1)] * len(y)
        if weights is not None:
            root = [Decimal(float(w)).sqrt() for w in weights]
        root = np.array(root, object)
        z = np.hstack(
            [
                _divide(decimals(t.z), decimals(transform))
                for t, transform in zip(terms, design.transforms, strict=True)
            ]
        )
        x = _divide(decimals(x[:, design.basis.kept]), decimals(design.basis.r))
        y = decimals(y) / Decimal(design.y_scale)
        shift = decimals(design.least_squares / design.y_scale)
        y, x, z = y * root, x * root[:, None], z * root[:, None]
        return (y - x @ shift if x.shape[1] else y), x, z


def _divide(a, upper):
    """a upper^-1."""
    a = a.copy()
    for j in range(len(upper)):
        a[:, j] = (a[:, j] - a[:, :j] @ upper[:j, j] if j else a[:, j]) / upper[j, j]
    return a
