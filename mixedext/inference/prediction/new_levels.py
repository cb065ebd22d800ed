"""Effects of levels that the fit had not, from rows of theirs: numbers without labels.

With the rows' V_n = W^-1 + Z_n Sigma Z_n' relative to sigma^2 the weights of the modes are
A = V_n^-1 Z_n Sigma; see ``new_modes``, whose mathematics this is.  Beside a residual
covariance the rows are whitened first, and there W = I.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, sparse

from mixedext.engine.information.joint_errors import joint_errors, random_rows
from mixedext.engine.residual.placed_rows import Whitening
from mixedext.fitted import Fitted
from mixedext.inference.prediction.new_rows import NewRows, level_labels, new_component
from mixedext.inference.random_effects.modes import component_of
from mixedext.specification.data.known_levels import UNKNOWN
from mixedext.specification.formula.term_recipe import TermRows

__all__ = [
    "NewEntries",
    "NewLevels",
    "given_terms",
    "image_of_basis",
    "new_entries",
    "new_levels_of",
    "on_rows_of_fit",
]

# Random effects of new levels at most: their covariance is dense.
MOST_EFFECTS = 3000


@dataclass(frozen=True, eq=False)
class NewEntries:
    """Values of rows at effects of one term that are not among those of the fit.

    Attributes
    ----------
    keys : Index
        Labels of levels; of a variance component group and label of columns.
    row, key, column : ndarray
        Of each value its row, number of its level, and number among the level's effects.
    value : ndarray
        The values.
    lacks : ndarray
        Rows without a label, (n,) bool.
    k : int
        Number of effects a level.
    """

    keys: pd.Index
    row: np.ndarray
    key: np.ndarray
    column: np.ndarray
    value: np.ndarray
    lacks: np.ndarray
    k: int

    def places(self, labels: pd.Index) -> np.ndarray:
        """Number among new levels of the level of every value, negative for none."""
        if not len(labels) or not len(self.keys):
            return np.full(len(self.key), -1)
        return labels.get_indexer(self.keys)[self.key]


@dataclass(frozen=True, eq=False)
class NewLevels:
    """The rows of new levels, and what follows of them.

    Attributes
    ----------
    labels : list of Index
        For each term the labels of its new levels, none for most.
    sizes : list of int
        Number of effects a level of each term.
    first : list of int
        Number of the first effect of each term.
    effects : ndarray
        Modes of all new effects, those of a level together, (Q,).
    weights : ndarray
        A, (n, Q).
    gain : ndarray
        V_n^-1 Z_n, (n, Q).
    within : ndarray
        Sigma - Sigma Z_n'A, (Q, Q): errors given the coefficients and modes of the fit.
    z : ndarray
        Z_n, (n, Q).
    exog : ndarray
        Columns kept of the fixed effects, (n, rank).
    known : csr_array or None
        Values at the effects of the fit in the engine's order; None if there are none.
    moves : list of csr_array
        Derivatives of the covariance of whitened rows by psi; none without a residual
        covariance.
    """

    labels: list[pd.Index]
    sizes: list[int]
    first: list[int]
    effects: np.ndarray
    weights: np.ndarray
    gain: np.ndarray
    within: np.ndarray
    z: np.ndarray
    exog: np.ndarray
    known: sparse.csr_array | None
    moves: list[sparse.csr_array] = field(default_factory=list)

    def columns(self, entries: list[NewEntries], n: int) -> np.ndarray:
        """Values of n rows at the new effects, (n, Q)."""
        out = np.zeros((n, len(self.effects)))
        for own, labels, start in zip(entries, self.labels, self.first, strict=True):
            _fill(out, own, labels, start)
        return out


def given_terms(rows: NewRows) -> list[TermRows]:
    """Rows of all terms: predictions here are given all of them."""
    return [own for own in rows.terms if own is not None]


def new_entries(fitted: Fitted, rows: NewRows) -> list[NewEntries]:
    """Values of new rows at effects that the fit had not, for each term.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    rows : NewRows
        The rows, by the policy "zero" for new levels.
    """
    frame, found = rows.frame, []
    assert frame is not None
    for number, own in enumerate(given_terms(rows)):
        if component_of(fitted, [number]) is not None:
            found.append(_component_entries(fitted, number, frame))
            continue
        codes, levels = level_labels(fitted, number, frame)
        k = own.z.shape[1]
        at = np.flatnonzero((own.codes == UNKNOWN) & (codes >= 0))
        row, column = np.repeat(at, k), np.tile(np.arange(k), len(at))
        value = np.asarray(own.z)[row, column]
        lacks = codes < 0
        found.append(NewEntries(levels, row, codes[row], column, value, lacks, k))
    return found


def _component_entries(fitted, number, frame):
    found = new_component(fitted, number, frame)
    row, key = found.matrix.coords
    lacks = found.codes < 0
    new = (found.place[key] < 0) & ~lacks[row]
    row, key = row[new], key[new]
    value = found.matrix.data[new]
    return NewEntries(found.keys, row, key, np.zeros_like(key), value, lacks, 1)


def _fill(out, own, labels, start):
    place = own.places(labels)
    has = place >= 0
    out[own.row[has], start + place[has] * own.k + own.column[has]] = own.value[has]


def new_levels_of(
    fitted: Fitted,
    rows: NewRows,
    entries: list[NewEntries],
    y: np.ndarray,
    precision: np.ndarray,
    use: np.ndarray,
    whitening: Whitening | None = None,
) -> NewLevels:
    """Modes and errors from the rows that are used.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    rows : NewRows
        The rows.
    entries : list of NewEntries
        Their values at new effects.
    y, precision : ndarray
        Response and weights, (n,).
    use : ndarray
        Numbers of the rows that are used.
    whitening : Whitening, optional
        Of these, weights and all, beside a residual covariance.

    Raises
    ------
    ValueError
        If there are too many new effects.
    """
    used = np.zeros(len(rows), bool)
    used[use] = True
    labels = [e.keys[np.unique(e.key[used[e.row]])] for e in entries]
    sizes = [e.k for e in entries]
    first = np.cumsum([0] + [len(v) * k for v, k in zip(labels, sizes, strict=True)])
    size = int(first[-1])
    if size > MOST_EFFECTS:
        raise ValueError(
            f"data has {size} random effects of new levels, more than {MOST_EFFECTS}; give "
            "the levels in several calls, or fit the model to all data"
        )
    z = np.zeros((len(rows), size))
    for own, names, start in zip(entries, labels, first[:-1].tolist(), strict=True):
        _fill(z, own, names, start)
    z, x = z[use], rows.exog[use][:, fitted.fixed.kept]
    rest = y[use] - rows.mean(fitted)[use]
    known: Any = joint_errors(fitted.fit).known_of(
        random_rows(fitted.fit, [_without_new(own.take(use)) for own in given_terms(rows)]),
        len(use),
    )
    w = precision[use][:, None]
    if whitening is not None:
        root, w = whitening.root, np.ones_like(w)
        z, x, rest, known = root @ z, root @ x, root @ rest, root @ known
    lams = fitted.fit.design.own_lams(fitted.fit.theta)
    factors = linalg.block_diag(
        *[
            np.kron(np.eye(len(names)), lam[:k, :k])
            for names, k, lam in zip(labels, sizes, lams, strict=True)
        ]
    ).reshape(size, size)
    turned = z @ factors  # Z_n Lam
    inner = linalg.cho_factor(turned.T @ (w * turned) + np.eye(size), lower=True)
    half = factors @ linalg.cho_solve(inner, turned.T * w.T)  # Lam C Lam'Z_n'W = A'
    within = factors @ linalg.cho_solve(inner, factors.T)
    gain = w * z - w * (turned @ linalg.cho_solve(inner, turned.T @ (w * z)))
    return NewLevels(
        labels,
        sizes,
        first[:-1].tolist(),
        half @ rest,
        half.T,
        gain,
        within,
        z,
        x,
        known if known.nnz else None,
        [] if whitening is None else whitening.moves,
    )


def _without_new(own):
    """Level, columns and squares of rows at effects of the fit alone."""
    square = None if own.new_square is None else np.zeros(len(own.codes))
    return np.maximum(own.codes, -1), own.z, square


def on_rows_of_fit(new: NewLevels, by: np.ndarray) -> tuple[np.ndarray, Any]:
    """X_n'v and Z_k'v for vectors v over the new rows, as (m, rank) and (m, L K + m)."""
    known = None
    if new.known is not None:
        known = sparse.csr_array(sparse.csr_array(by) @ new.known)
    return by @ new.exog, known


def image_of_basis(
    fitted: Fitted, new: NewLevels, d: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Number r of each variance parameter, and B_r d in the units of the data, (n, Q)."""
    design, objective = fitted.fit.design, fitted.fit.objective
    for i, structure in enumerate(design.structures):
        count, k = len(new.labels[i]), new.sizes[i]
        at = slice(new.first[i], new.first[i] + count * k)
        own = d[:, at].reshape(len(d), count, k)
        inverse = design.inverse_transforms[i]
        for r, basis in enumerate(structure.covariance_basis):
            if len(basis) == k and design.rotation is None:
                image = own @ (inverse @ basis @ inverse.T)
            else:  # levels of one variance
                image = own * (inverse[0, 0] ** 2 * basis[0, 0])
            whole = np.zeros_like(d)
            whole[:, at] = image.reshape(len(d), -1)
            yield objective.gamma_slices[i].start + r, whole
