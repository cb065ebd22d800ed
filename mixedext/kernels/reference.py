"""The kernels in NumPy: slow, dense, plain.  The tests compare the two.

Each function returns what its compiled twin of the same name writes or returns.  Dense
matrices stand in for the compressed ones: ``links`` is Z_tail'Z_lead as (m, L, k), and
the tail's matrices are (m, m).
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "add_moving_average",
    "durbin_levinson",
    "extend_autoregression",
    "factor_levels",
    "lead_conditional_variance",
    "lead_curvature",
    "lead_project",
    "lead_response",
    "level_products",
    "link_products",
    "reduce_fixed",
    "reduce_tail",
    "selected_inverse",
    "tail_curvature",
]


def durbin_levinson(psi: np.ndarray) -> tuple[np.ndarray, ...]:
    """Correlations, coefficients, and first and second derivatives of both."""
    n = len(psi)
    r = np.tanh(psi)
    e = np.exp(-2.0 * np.abs(psi))
    w = 4.0 * e / (1.0 + e) ** 2  # 1 - r^2, without cancellation
    rho, phi, v = np.zeros(n + 1), np.zeros(n), 1.0
    rho[0] = 1.0
    d_rho, d_phi, d_v = np.zeros((n, n + 1)), np.zeros((n, n)), np.zeros(n)
    dd_rho, dd_phi, dd_v = np.zeros((n, n, n + 1)), np.zeros((n, n, n)), np.zeros((n, n))
    for k in range(n):
        own, back, last = phi[:k], phi[:k][::-1], rho[k:0:-1]
        rho[k + 1] = r[k] * v + own @ last
        # of what follows, derivatives by r_1 .. r_k, then those by the new r_(k + 1)
        first, d_last = d_phi[:k, :k], d_rho[:k, k:0:-1]
        mixed = first @ d_last.T
        dd_rho[:k, :k, k + 1] = (
            r[k] * dd_v[:k, :k]
            + dd_phi[:k, :k, :k] @ last
            + mixed
            + mixed.T
            + dd_rho[:k, :k, k:0:-1] @ own
        )
        dd_rho[:k, k, k + 1] = dd_rho[k, :k, k + 1] = d_v[:k]
        dd_phi[:k, :k, :k] -= r[k] * dd_phi[:k, :k, :k][..., ::-1]
        dd_phi[:k, k, :k] = dd_phi[k, :k, :k] = -first[:, ::-1]
        dd_v[:k, :k] *= w[k]
        dd_v[:k, k] = dd_v[k, :k] = -2 * r[k] * d_v[:k]
        dd_v[k, k] = -2 * v
        d_rho[:k, k + 1] = r[k] * d_v[:k] + d_phi[:k, :k] @ last + d_rho[:k, k:0:-1] @ own
        d_rho[k, k + 1] = v
        d_phi[:k, :k] -= r[k] * d_phi[:k, :k][:, ::-1]
        d_phi[k, :k] = -back
        d_phi[k, k] = 1.0
        d_v[:k] *= w[k]
        d_v[k] = -2 * r[k] * v
        phi[:k] = own - r[k] * back
        phi[k] = r[k]
        v *= w[k]
    rho, d_rho, dd_rho = rho[1:], d_rho[:, 1:], dd_rho[..., 1:]
    # from r to psi: dr = w, d2r = -2 r w
    numbers = np.arange(n)
    for first, second in ((d_rho, dd_rho), (d_phi, dd_phi)):
        second *= (w[:, None] * w)[..., None]
        second[numbers, numbers] -= (2 * r * w)[:, None] * first
    return rho, phi, w[:, None] * d_rho, w[:, None] * d_phi, dd_rho, dd_phi


def extend_autoregression(
    phi: np.ndarray, rho: np.ndarray, d_rho: np.ndarray, dd_rho: np.ndarray, n: int
) -> tuple[np.ndarray, ...]:
    """Tables of lags 0 .. p continued to n - 1 by rho_h = sum_j phi_j rho_(h - j)."""
    p = len(phi)
    for h in range(p + 1, n):
        before = h - 1 - np.arange(p)
        own = d_rho[:, before]
        new = dd_rho[:, :, before] @ phi + own + own.T
        dd_rho = np.concatenate([dd_rho, new[:, :, None]], axis=-1)
        d_rho = np.concatenate([d_rho, (own @ phi + rho[before])[:, None]], axis=-1)
        rho = np.append(rho, rho[before] @ phi)
    return rho, d_rho, dd_rho


def add_moving_average(
    ma: np.ndarray, rho: np.ndarray, d_rho: np.ndarray, dd_rho: np.ndarray, n: int
) -> tuple[np.ndarray, ...]:
    """Table of c_h / c_0 by (ar, ma), where c_h = sum_ij b_i b_j rho_(h + i - j)."""
    p, q = len(d_rho), len(ma)
    b, eye = np.concatenate([[1.0], ma]), np.eye(q + 1)[1:]
    i = np.arange(q + 1)
    lag = np.abs(np.arange(n)[:, None, None] + i[:, None] - i)
    c = b @ rho[lag] @ b
    first = np.concatenate(
        [
            b @ d_rho[:, lag] @ b,
            np.einsum("ri,hij,j->rh", eye, rho[lag] + rho[lag].transpose(0, 2, 1), b),
        ]
    )
    second = np.zeros((p + q, p + q, n))
    second[:p, :p] = b @ dd_rho[:, :, lag] @ b
    own = d_rho[:, lag]
    mixed = np.einsum("ri,shij,j->srh", eye, own + own.transpose(0, 1, 3, 2), b)
    second[:p, p:], second[p:, :p] = mixed, mixed.transpose(1, 0, 2)
    both = np.einsum("ri,hij,sj->rsh", eye, rho[lag], eye)
    second[p:, p:] = both + both.transpose(1, 0, 2)
    value = c / c[0]
    zero = first[:, :1]
    first = (first - value * zero) / c[0]
    cross = zero[:, None] * first
    second = second - second[..., :1] * value - cross - cross.transpose(1, 0, 2)
    return value, first, second / c[0]


def level_products(
    codes: np.ndarray, z: np.ndarray, fixed: np.ndarray, n_levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Z_l'Z_l as (L, k, k) and Z_l'[X y] as (L, k, P)."""
    gram = np.zeros((n_levels, z.shape[1], z.shape[1]))
    cross = np.zeros((n_levels, z.shape[1], fixed.shape[1]))
    np.add.at(gram, codes, np.einsum("ia,ib->iab", z, z))
    np.add.at(cross, codes, np.einsum("ia,ip->iap", z, fixed))
    return gram, cross


def link_products(
    lead_codes: np.ndarray, lead_z: np.ndarray, tail_matrix: np.ndarray, n_levels: int
) -> np.ndarray:
    """Z_tail'Z_lead as (m, L, k), with Z_tail as a dense (n, m) matrix."""
    links = np.zeros((tail_matrix.shape[1], n_levels, lead_z.shape[1]))
    for level in range(n_levels):
        rows = lead_codes == level
        links[:, level] = tail_matrix[rows].T @ lead_z[rows]
    return links


def factor_levels(gram: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, float]:
    """lam L_l^-T with L_l L_l' = lam'A_l lam + I, and the sum of log determinants."""
    m = lam.T @ gram @ lam + np.eye(len(lam))
    root = np.linalg.cholesky(m)
    half = np.linalg.solve(root, np.broadcast_to(lam.T, root.shape)).transpose(0, 2, 1)
    return half, 2 * np.log(np.einsum("laa->la", root)).sum()


def reduce_fixed(half: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """half_l'Z_l'[X y]."""
    return np.einsum("lba,lbp->lap", half, cross)


def reduce_tail(
    gram: np.ndarray,
    cross: np.ndarray,
    links: np.ndarray,
    half: np.ndarray,
    solved: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Z_tail'V_1^-1 Z_tail and Z_tail'V_1^-1 [X y]."""
    scaled = np.einsum("mlb,lba->mla", links, half)
    return (
        gram - np.einsum("mla,nla->mn", scaled, scaled),
        cross - np.einsum("mla,lap->mp", scaled, solved),
    )


def _shrinkage(gram, half):
    """K_l = (I + Sigma A_l)^-1."""
    return np.eye(gram.shape[1]) - np.einsum("lac,lbc,lbd->lad", half, half, gram)


def lead_curvature(
    gram: np.ndarray, half: np.ndarray, links: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """sum_l [Z'V0^-1 Z]_ll; ``covariance`` is Lam2 C22 Lam2'."""
    k = _shrinkage(gram, half)
    edge = np.einsum("mlb,lba->mla", links, k)
    return np.einsum("lab,lbc->ac", gram, k) - np.einsum(
        "mla,mn,nlb->ab", edge, covariance, edge
    )


def lead_response(
    gram: np.ndarray,
    half: np.ndarray,
    links: np.ndarray,
    cross: np.ndarray,
    tail_effect: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """[Z'V0^-1 [X y]]_l and [Lam C Lam'Z'[X y]]_l."""
    rest = cross - np.einsum("mla,mp->lap", links, tail_effect)
    response = np.einsum("lba,lbp->lap", _shrinkage(gram, half), rest)
    return response, np.einsum("lac,lbc,lbp->lap", half, half, rest)


def lead_project(
    gram: np.ndarray,
    half: np.ndarray,
    links: np.ndarray,
    lead_weight: np.ndarray,
    tail_weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """[Z'Z w]_l, its forward substitution, and what both add to the tail."""
    image = np.einsum("lab,lbr->lar", gram, lead_weight)
    image += np.einsum("mla,mr->lar", links, tail_weight)
    solved = np.einsum("lba,lbr->lar", half, image)
    share = np.einsum("mla,lar->mr", links, lead_weight)
    eliminated = np.einsum("mlc,lca,lar->mr", links, half, solved)
    return image, solved, share, share - eliminated


def lead_conditional_variance(
    half: np.ndarray, links: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """[Lam C Lam']_ll."""
    d = np.einsum("lac,lbc->lab", half, half)
    edge = np.einsum("mlb,lba->mla", links, d)
    return d + np.einsum("mla,mn,nlb->lab", edge, covariance, edge)


def tail_curvature(
    reduced: np.ndarray, lam: np.ndarray, inverse: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """sum_l [N Lam2 C22]_ll for a factor whose scalar columns are (L, k)."""
    product = reduced @ lam @ inverse
    return product[columns[:, :, None], columns[:, None, :]].sum(axis=0)


def selected_inverse(factor: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """(L L')^-1 where ``pattern`` is true."""
    return np.where(pattern, np.linalg.inv(factor @ factor.T), 0.0)
