"""Models with a residual covariance, and V of their rows and others written out whole.

Every structure is the definition of a covariance in natural parameters, by columns of the
data; nothing of the package's own matrices is used but the map from free parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx
from mixedext.engine.residual.fit import residual_fit_at
from mixedext.fitted import Fitted
from mixedext.models.mixedlm.residual_fitting import residual_rows

# residual= and variance=; visits of the data are 1 .. 4
STRUCTURES: dict[str, tuple[str | None, str | None]] = {
    "cs": ("cs(visit | g)", None),
    "csh": ("csh(visit | g)", None),
    "ar1": ("ar1(visit | g)", None),
    "ar1h": ("ar1h(visit | g)", None),
    "ar1 by arm": ("ar1(visit | g, by=arm)", None),
    "ar1h by arm": ("ar1h(visit | g, by=arm)", None),
    "arma": ("arma(visit | g, p=1, q=1)", None),
    "toep": ("toep(visit | g)", None),
    "toep 2": ("toep(visit | g, bands=2)", None),
    "toeph": ("toeph(visit | g)", None),
    "us": ("us(visit | g)", None),
    "us by arm": ("us(visit | g, by=arm)", None),
    "ad": ("ad(visit | g)", None),
    "adh": ("adh(visit | g)", None),
    "car1": ("car1(time | g)", None),
    "sp_exp": ("sp_exp(time, place | g)", None),
    "sp_exp manhattan": ("sp_exp(time, place | g, metric=manhattan)", None),
    "sp_gau": ("sp_gau(time, place | g, nugget=True)", None),
    "sp_exp nugget": ("sp_exp(time | g, nugget=True)", None),
    "sp_spher": ("sp_spher(time, place | g, nugget=True)", None),
    "sp_lin": ("sp_lin(time | g)", None),
    "sp_ratio": ("sp_ratio(time, place | g)", None),
    "sp_pow": ("sp_pow(time, place | g)", None),
    "ident": (None, "ident(sex)"),
    "power": (None, "power(size)"),
    "power by sex": (None, "power(size | sex)"),
    "exp": (None, "exp(size)"),
    "constpower": (None, "constpower(size)"),
    "fixed": (None, "fixed(size)"),
    "ident, power": (None, "ident(sex) * power(size)"),
    "ar1, ident": ("ar1(visit | g)", "ident(sex)"),
    "car1, power": ("car1(time | g)", "power(size)"),
    "cs, ident by arm": ("cs(visit | g, by=arm)", "ident(sex)"),
}
# Random terms beside them.
BESIDE = {
    "none": "",
    "same": " + (0 + x | g)",
    "outer": " + (1 + x | school)",
    "crossed": " + (1 | item)",
    "crossed slopes": " + (1 + x | item)",
    "both": " + (0 + x | g) + (1 | school)",
}


def random_data(rng: np.random.Generator, groups: int = 12) -> pd.DataFrame:
    """Rows of groups in schools, at some of four visits; no row twice at a place."""
    g = np.repeat(np.arange(groups), 4)
    n = len(g)
    data = pd.DataFrame(
        {
            "g": [f"g{k}" for k in g],
            "visit": np.tile(np.arange(1, 5), groups),
            "school": [f"s{k % 3}" for k in g],
            "arm": np.where(g % 2, "a", "b"),
            "item": [f"i{k}" for k in rng.integers(0, 4, n)],
            "sex": rng.permutation(np.where(np.arange(n) % 2, "f", "m")),
            "x": rng.standard_normal(n),
            "size": rng.uniform(0.5, 2.0, n),
            "place": rng.uniform(0, 2, n).round(2),
            "y": rng.standard_normal(n),
        }
    )
    data["time"] = (data["visit"] + rng.uniform(-0.3, 0.3, n)).round(3)
    keep = rng.random(n) < 0.8
    keep[:8] = True  # all visits, in both arms
    keep[4 * (groups - 1) :] = [True, True, False, True]
    return data.iloc[rng.permutation(np.flatnonzero(keep))].reset_index(drop=True)


def new_data(rng: np.random.Generator, data: pd.DataFrame) -> pd.DataFrame:
    """Rows at visits of groups of which some have rows there, and one of a new group."""
    groups = list(pd.unique(data["g"]))[:5]
    g = np.repeat([*groups, "other"], 2)
    n = len(g)
    number = np.array([int(k[1:]) if k != "other" else 0 for k in g])
    new = pd.DataFrame(
        {
            "g": g,
            "visit": np.tile([2, 3], n // 2),
            "school": [f"s{k % 3}" for k in number],
            "arm": np.where(number % 2, "a", "b"),
            "item": [f"i{k}" for k in rng.integers(0, 4, n)],
            "sex": rng.permutation(np.where(np.arange(n) % 2, "f", "m")),
            "x": rng.standard_normal(n),
            "size": rng.uniform(0.5, 2.0, n),
            "place": rng.uniform(0, 2, n).round(2),
        }
    )
    new.loc[g == "other", "school"] = "elsewhere"
    new["time"] = new["visit"] + 0.5
    return new


@dataclass(frozen=True, eq=False)
class DenseCase:
    """A fit at given parameters, and V of its rows and of others at any."""

    fitted: Fitted
    data: pd.DataFrame
    weights: np.ndarray | None

    @property
    def covariances(self) -> list[np.ndarray]:
        """Sigma of the terms relative to sigma^2."""
        return [lam @ lam.T for lam in self.fitted.fit.lams]

    @property
    def psi(self) -> np.ndarray:
        return self.fitted.fit.residual.psi

    def joint(
        self,
        new: pd.DataFrame,
        covariances: list[np.ndarray],
        psi: np.ndarray,
        residual: bool,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """V0 of the rows of the fit and of others, whose residual is left out or not."""
        frame = pd.concat([self.data, new], ignore_index=True)
        n = len(self.data)
        total = np.zeros((len(frame),) * 2)
        for term, sigma in zip(self.fitted.fit.design.terms, covariances, strict=True):
            names = {"Intercept": 1.0, "x": frame["x"]}
            z = np.column_stack([np.ones(len(frame)) * names[c] for c in term.names])
            same = _equal(frame[term.group])
            total += same * (z @ sigma @ z.T)
        bound = self.fitted.fit.residual.bound
        own = dense_lambda(bound, psi, frame)
        w = np.ones(len(frame))
        if self.weights is not None:
            w[:n] = self.weights
        if weights is not None:
            w[n:] = weights
        own /= np.sqrt(w[:, None] * w)
        if not residual:
            own[n:] = own[:, n:] = 0.0
        return total + own

    def columns(self, frame: pd.DataFrame) -> np.ndarray:
        """X."""
        return np.column_stack([np.ones(len(frame)), frame["x"]])

    def predicted(self, new: pd.DataFrame, joint: np.ndarray) -> tuple[Any, ...]:
        """Means, m and weights (n, N) of the best linear unbiased predictors."""
        n = len(self.data)
        v, c, own = joint[:n, :n], joint[:n, n:], joint[n:, n:].diagonal()
        x, x_new = self.columns(self.data), self.columns(new)
        solved = np.linalg.solve(v, np.column_stack([x, c]))
        phi = np.linalg.inv(x.T @ solved[:, :2])
        h = x_new.T - x.T @ solved[:, 2:]
        weights = solved[:, 2:] + solved[:, :2] @ phi @ h
        m = (
            own
            - np.einsum("ij,ij->j", c, solved[:, 2:])
            + np.einsum("ij,ij->j", h, phi @ h)
        )
        return weights.T @ self.data["y"].to_numpy(), m, weights


def _equal(values: pd.Series) -> np.ndarray:
    values = values.to_numpy(object)
    return (values[:, None] == values).astype(float)


def dense_lambda(bound: Any, psi: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
    """Lambda of all rows of a frame."""
    n_sd = sum(f.n_psi for f in bound.functions)
    sd, start = np.ones(len(frame)), 0
    for function, text in zip(bound.functions, bound.function_texts, strict=True):
        own = np.asarray(function.natural(psi[start : start + function.n_psi]), float)
        start += function.n_psi
        sd *= _standard_deviation(bound, text, own, frame)
    if bound.correlation is None:
        return np.diag(sd**2)
    levels = bound.level_labels or [None]
    out = np.zeros((len(frame),) * 2)
    for number, level in enumerate(levels):
        at = n_sd + number * bound.correlation.n_psi
        rho = bound.correlation.natural(psi[at : at + bound.correlation.n_psi])
        own = (
            np.ones(len(frame))
            if level is None
            else (frame["arm"] == level).to_numpy(float)
        )
        out += _correlation(bound.spec, np.asarray(rho, float), frame) * own * own[:, None]
    return out * _equal(frame["g"]) * sd * sd[:, None]


def _standard_deviation(bound, text, own, frame):
    def ratio(labels, values):
        table = dict(zip(labels, np.append(1.0, own), strict=True))
        return values.astype(str).map(table).to_numpy(float)

    number = bound.function_texts.index(text)
    labels = bound.strata_labels[number]
    visit, arm = frame["visit"].astype(str), frame["arm"]
    if number == 0 and (bound.spec.is_het or bound.n_levels > 1):
        if bound.spec.is_het and bound.n_levels > 1:
            return ratio(labels, arm + ":" + visit)
        return ratio(labels, visit if bound.spec.is_het else arm)
    size, sex = frame["size"].to_numpy(), frame["sex"]
    if text.startswith("ident"):
        return ratio(labels, sex)
    if text.startswith("fixed"):
        return np.sqrt(size)
    if text.startswith("power"):
        if not labels:
            return size ** own[0]
        return size ** sex.map(dict(zip(labels, own, strict=True))).to_numpy(float)
    if text.startswith("exp"):
        return np.exp(own[0] * size)
    assert text.startswith("constpower")
    return own[0] + size ** own[1]


def _correlation(spec, rho, frame):
    visit = frame["visit"].to_numpy() - 1
    lag = np.abs(visit[:, None] - visit)
    match spec.call:
        case "cs":
            return np.where(lag == 0, 1.0, rho[0])
        case "ar1":
            return rho[0] ** lag
        case "arma":
            phi, theta = rho
            first = (1 + phi * theta) * (phi + theta) / (1 + 2 * phi * theta + theta**2)
            return np.where(lag == 0, 1.0, first * phi ** np.maximum(lag - 1.0, 0))
        case "toep":
            table = np.concatenate([[1.0], rho, np.zeros(4)])
            return table[lag]
        case "us":
            whole = np.zeros((4, 4))
            whole[np.tril_indices(4)] = np.append(1.0, rho)
            whole = whole + whole.T - np.diag(whole.diagonal())
            return whole[visit[:, None], visit]
        case "ad":
            edges = np.append(0.0, np.cumsum(np.log(np.abs(rho))))
            signs = np.append(1.0, np.cumprod(np.sign(rho)))
            size = np.exp(-np.abs(edges[visit][:, None] - edges[visit]))
            return size * signs[visit][:, None] * signs[visit]
    names = ["time"] if len(spec.places) == 1 else ["time", "place"]
    gaps = [np.abs(frame[c].to_numpy()[:, None] - frame[c].to_numpy()) for c in names]
    distance = sum(gaps)
    if getattr(spec, "metric", "euclidean") == "euclidean":
        distance = np.sqrt(sum(gap**2 for gap in gaps))
    kind = getattr(spec, "kind", "pow")
    u = distance / rho[0]
    shapes = {
        "exp": np.exp(-u),
        "gau": np.exp(-(u**2)),
        "spher": np.where(u < 1, 1 - 1.5 * u + 0.5 * u**3, 0.0),
        "lin": np.maximum(1 - u, 0.0),
        "ratio": 1 / (1 + u**2),
        "pow": rho[0] ** distance,
    }
    out = shapes[kind]
    if len(rho) > 1:
        out = np.where(np.eye(len(out), dtype=bool), 1.0, (1 - rho[1]) * out)
    return out


def dense_case(
    rng: np.random.Generator, structure: str, beside: str, reml: bool = True, weighted=False
) -> DenseCase:
    """A model of random rows at random parameters."""
    data = random_data(rng, {"us by arm": 12, "ar1h by arm": 12}.get(structure, 6))
    residual, variance = STRUCTURES[structure]
    options = {"weights": "w"} if weighted else {}
    weights = rng.uniform(0.5, 2.0, len(data))
    if weighted:
        data["w"] = weights
    model = mx.mixedlm(
        f"y ~ x{BESIDE[beside]}", data, residual=residual, variance=variance, **options
    )
    rows = residual_rows(model)
    theta = []
    for term in model.random_terms:
        root = rng.uniform(0.4, 0.9, (term.k, term.k))
        theta.append(root[np.tril_indices(term.k)[::-1]])
    psi = 0.3 * rng.standard_normal(rows.n_psi)
    if structure == "sp_lin":
        psi = np.abs(psi) + 0.1
    if structure == "toep 2":  # the correlation itself
        psi = np.clip(psi, -0.4, 0.4)
    fit = residual_fit_at(rows, reml, np.concatenate([np.zeros(0), *theta]), psi)
    return DenseCase(Fitted(fit, model), data, weights if weighted else None)


def differences(function: Any, at: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Derivatives by central differences of fourth order, one by element of ``at``."""
    out = []
    for k in range(len(at)):
        e = step * np.eye(len(at))[k]
        near = function(at + e) - function(at - e)
        far = function(at + 2 * e) - function(at - 2 * e)
        out.append((8 * near - far) / (12 * step))
    return np.array(out)
