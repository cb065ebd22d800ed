"""The matrices of a mixed model as images: Z, Lambda, V, A and its factor L."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.arguments import check_choice
from mixedext.engine.residual.roots import block_rows
from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.matrix_images import (
    Block,
    Elements,
    MatrixPicture,
    draw_matrix,
    thinned,
)
from mixedext.graphics.row_levels import RowLevels, row_index, row_levels
from mixedext.inference.variances.residual_covariance import error_covariance, random_part
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["MATRICES", "matrix_data", "plot_matrix"]

MATRICES = ("Z", "Lambda", "V", "L", "A")
# Rows of V, and of the dense part of L, at most.
MOST_DENSE = 2000
# Levels that have lines and names of their own at most.
MOST_LEVELS = 40


def matrix_data(
    results: HasFitted,
    matrix: str = "V",
    *,
    scale: str = "covariance",
    n_groups: int = 3,
    group: str | None = None,
    pixels: int = 500,
) -> pd.DataFrame:
    """What ``plot_matrix`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    matrix, scale, n_groups, group, pixels
        As for ``plot_matrix``.

    Returns
    -------
    DataFrame
        The elements with labels of rows and columns; of a matrix with more rows or columns
        than ``pixels`` the largest in size of those that share a pixel, with the label of
        the first.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.matrices import matrix_data
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> matrix_data(result, "V", n_groups=1, scale="correlation").round(3).iloc[0].tolist()
    [1.0, 0.418, 0.418, 0.418, 0.418]
    """
    return _picture(results.fitted, matrix, scale, n_groups, group, pixels).values


def plot_matrix(
    results: HasFitted,
    matrix: str = "V",
    *,
    scale: str = "covariance",
    n_groups: int = 3,
    group: str | None = None,
    pixels: int = 500,
    values: bool = True,
    ax: Any = None,
) -> Any:
    """An image of a matrix of the model, with lines between its blocks.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    matrix : {"V", "Z", "Lambda", "A", "L"}, optional
        V, the covariance matrix of the response, of the rows of some levels; Z, the columns
        of the random effects; Lambda, their relative covariance factor; A, the products
        [Z X y]'W[Z X y]; L, the Cholesky factor of A with Lambda, which fits are made of.
    scale : {"covariance", "correlation"}, optional
        Of V.
    n_groups : int, optional
        V: levels whose rows are shown, from the first.
    group : str, optional
        V: the grouping factor of the levels; the model's first if None.
    pixels : int, optional
        Rows and columns of the image at most.
    values : bool, optional
        Whether elements are printed in matrices of up to 12 rows and columns.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If an argument is not known, the rows are not in memory, or L is dense in more than
        2,000 rows.

    Notes
    -----
    In A and L the term with the most columns stands first and columns of X that depend on
    others are left out.  L has the rows of [Lambda'Z' X' y'] and

        LL' = [Z Lambda, X, y]'W[Z Lambda, X, y] + diag(I, 0, 0);

    the square of its last element is the penalized residual sum of squares.

    See Also
    --------
    mixedext.graphics.matrices.matrix_data : the numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_matrix("V", scale="correlation")  # doctest: +SKIP
    """
    picture = _picture(results.fitted, matrix, scale, n_groups, group, pixels)
    return draw_matrix(picture, ax, values)


def _picture(fitted, matrix, scale, n_groups, group, pixels) -> MatrixPicture:
    check_choice(matrix, "matrix", MATRICES)
    check_choice(scale, "scale", ("covariance", "correlation"))
    for name, value in (("n_groups", n_groups), ("pixels", pixels)):
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{name}={value!r}; it must be a whole number from 1")
    if matrix == "V":
        return _of_v(fitted, scale, int(n_groups), group, int(pixels))
    if matrix in ("Z", "Lambda") and not fitted.random.terms:
        raise ValueError(f"the model has no random effects, and so no {matrix}")
    of = {"Z": _of_z, "Lambda": _of_lambda, "A": _of_a, "L": _of_l}
    return of[matrix](fitted, int(pixels))


def _made(
    elements: Elements,
    labels: tuple[Any, Any],
    blocks: tuple[tuple[Block, ...], tuple[Block, ...]],
    pixels: int,
    unit: str,
    title: str,
    notes: tuple[str, ...] = (),
    more: bool = False,
) -> MatrixPicture:
    """A picture of elements; labels and blocks of rows and of columns."""
    values, step = thinned(elements, pixels)
    index, columns = (pd.Index(own)[:: step[i]] for i, own in enumerate(labels))
    frame = pd.DataFrame(values, index=index, columns=columns)
    return MatrixPicture(frame, *blocks, step, unit, title, notes, more)


# ---- terms ----


def _term_columns(term: Any) -> sparse.csr_array:
    """Columns of Z of a term, levels after each other, (n, L k)."""
    if not isinstance(term, RandomTerm):
        return sparse.csr_array(term.matrix)
    n, k = term.z.shape
    column = term.codes.astype(np.int64)[:, None] * k + np.arange(k)
    entries = np.asarray(term.z, float).ravel(), column.ravel(), np.arange(0, n * k + 1, k)
    return sparse.csr_array(entries, shape=(n, term.n_levels * k))


def _labels(term: Any) -> list[str]:
    """Names of the columns of a term."""
    names, levels = term.names, [str(level) for level in term.levels]
    if len(names) == 1:
        return levels
    return [f"{level}.{name}" for level in levels for name in names]


def _blocks(terms: Any, rest: Any = ()) -> tuple[Block, ...]:
    """A block a term, with its levels if they are few, and those of other columns."""
    out, start = [], 0
    for term in terms:
        stop = start + term.n_levels * term.k
        out.append(Block(term.label, start, stop))
        if term.n_levels <= MOST_LEVELS and isinstance(term, RandomTerm):
            for number, level in enumerate(term.levels):
                first = start + number * term.k
                out.append(Block(str(level), first, first + term.k, outer=False))
        start = stop
    for name, size in rest:
        out.append(Block(name, start, start + size))
        start += size
    return tuple(out)


def _elements(matrix: Any) -> Elements:
    found = sparse.coo_array(matrix)
    return Elements(found.row, found.col, found.data, found.shape)


def _of_z(fitted, pixels):
    terms = fitted.need_rows().terms
    z = sparse.hstack([_term_columns(t) for t in terms], format="coo")
    labels = row_index(fitted), [name for t in terms for name in _labels(t)]
    blocks = (), _blocks(terms)
    title = f"Z, {z.shape[0]:,} x {z.shape[1]:,}"
    return _made(_elements(z), labels, blocks, pixels, "value", title)


def _of_lambda(fitted, pixels):
    terms, parts = fitted.random.terms, []
    for term, lam in zip(terms, fitted.fit.lams, strict=True):
        parts.append(sparse.kron(sparse.eye_array(term.n_levels), np.tril(lam)))
    whole = sparse.block_diag(parts, format="coo")
    names, blocks = [name for t in terms for name in _labels(t)], _blocks(terms)
    title = f"Λ, {whole.shape[0]:,} x {whole.shape[0]:,}"
    unit = "relative to σ"
    return _made(_elements(whole), (names, names), (blocks, blocks), pixels, unit, title)


# ---- V ----


def _of_v(fitted: Fitted, scale, n_groups, group, pixels):
    rows, notes = fitted.need_rows(), []
    n = len(rows.endog)
    blocks: tuple[Block, ...] = ()
    whole = [t for t in rows.terms if isinstance(t, RandomTerm)]
    if group is None and whole:
        group = whole[0].group
    found = row_levels(fitted, group, "group") if group is not None else None
    if found is None:
        found = _residual_groups(fitted)
    if found is None:
        chosen = np.arange(min(n, 12))
        shown = f"{len(chosen)} of {n:,} rows"
    else:
        order = np.argsort(found.codes, kind="stable")
        code = found.codes[order]
        present = np.unique(code[code >= 0])
        order = order[np.isin(code, present[:n_groups])]
        if len(order) > MOST_DENSE:
            order = order[:MOST_DENSE]
            notes.append(f"their first {MOST_DENSE:,} rows")
        chosen, code = order, found.codes[order]
        edges = np.flatnonzero(np.diff(code, prepend=-1, append=-1))
        blocks = tuple(
            Block(str(found.levels[code[a]]), int(a), int(b), outer=False)
            for a, b in pairwise(edges)
        )
        shown = f"{len(blocks)} of {len(present):,} levels of {found.name}"
    v = _covariance(fitted, chosen)
    unit = "covariance"
    if scale == "correlation":
        size = np.sqrt(np.diag(v))
        v, unit = v / size / size[:, None], "correlation"
    labels = row_index(fitted)[chosen]
    more = len(chosen) < n
    if not more:
        shown = f"{n:,} rows"
    return _made(
        _elements(v),
        (labels, labels),
        (blocks, blocks),
        pixels,
        unit,
        f"V, {shown}",
        notes=tuple(notes),
        more=more,
    )


def _covariance(fitted: Fitted, chosen: np.ndarray) -> np.ndarray:
    """V of some rows, dense."""
    return error_covariance(fitted, chosen) + random_part(fitted, chosen[None])[0]


def _residual_groups(fitted: Fitted) -> RowLevels | None:
    """Residual groups of the rows; None where rows are independent."""
    residual = fitted.fit.residual
    if residual is None or residual.bound.correlation is None:
        return None
    bound = residual.bound
    codes = np.asarray(bound.group_codes)
    return RowLevels(bound.group_name, codes, pd.Index(bound.group_labels))


# ---- A and its factor ----


def _ordered(fitted):
    """Terms with their relative factors, the one with the most columns first."""
    pairs = list(zip(fitted.need_rows().terms, fitted.fit.lams, strict=True))
    return sorted(pairs, key=lambda pair: -pair[0].n_levels * pair[0].k)


def _parts(fitted, terms):
    """[Z X y] with the square roots of the weights, its labels and blocks.

    With a residual covariance the rows are whitened by the roots of its blocks.
    """
    rows, kept = fitted.need_rows(), fitted.fixed.kept
    y = rows.endog if rows.offset is None else rows.endog - rows.offset
    dense = np.column_stack([rows.exog[:, kept], y])
    whole = [*(_term_columns(t) for t in terms), sparse.csr_array(dense)]
    if rows.weights is not None:
        root = sparse.diags_array(np.sqrt(rows.weights))
        whole = [sparse.csr_array(root @ part) for part in whole]
    residual = fitted.fit.residual
    if residual is not None:
        inverse = block_rows(residual.bound, residual.inverse_roots())
        whole = [sparse.csr_array(inverse @ part) for part in whole]
    names = [name for t in terms for name in _labels(t)]
    names += [*(fitted.fixed.names[i] for i in kept), str(fitted.model.endog_names)]
    return whole, names, _blocks(terms, [("X", len(kept)), ("y", 1)])


def _of_a(fitted, pixels):
    terms = [term for term, _ in _ordered(fitted)]
    whole, names, blocks = _parts(fitted, terms)
    b = sparse.hstack(whole, format="csr")
    a = b.T @ b
    middle = "W" if fitted.fit.residual is None else "Λ⁻¹"
    title = f"A = [Z X y]'{middle}[Z X y], {a.shape[0]:,} x {a.shape[0]:,}"
    two = (blocks, blocks)
    return _made(_elements(a), (names, names), two, pixels, "product", title)


def _of_l(fitted, pixels):
    pairs = _ordered(fitted)
    terms = [term for term, _ in pairs]
    whole, names, blocks = _parts(fitted, terms)
    for number, (term, lam) in enumerate(pairs):
        root = sparse.kron(sparse.eye_array(term.n_levels), lam, format="csr")
        whole[number] = sparse.csr_array(whole[number] @ root)
    lead = terms[0] if terms and isinstance(terms[0], RandomTerm) else None
    if lead is not None and not _levels_apart(fitted, lead):
        lead = None
    head = lead.n_levels * lead.k if lead is not None else 0
    b = sparse.hstack(whole, format="csc")
    tail = b.shape[1] - head
    if tail > MOST_DENSE:
        raise ValueError(
            f"L is dense in {tail:,} rows, those of all terms but the first, X and y; "
            f"pictures have {MOST_DENSE:,} at most. plot_matrix('A') shows the products"
        )
    edge = b[:, head:]
    penalized = tail - fitted.fixed.rank - 1
    corner = (edge.T @ edge).toarray()
    corner[np.arange(penalized), np.arange(penalized)] += 1.0
    entries = []
    if lead is not None:
        k, count = lead.k, lead.n_levels
        own = np.zeros((count, k, k))
        gram = sparse.coo_array(b[:, :head].T @ b[:, :head])
        np.add.at(own, (gram.row // k, gram.row % k, gram.col % k), gram.data)
        roots = np.linalg.cholesky(own + np.eye(k))
        i, j = np.tril_indices(k)
        start = np.arange(count)[:, None] * k
        entries.append(((start + i).ravel(), (start + j).ravel(), roots[:, i, j].ravel()))
        inverse = np.linalg.inv(roots)
        upper = sparse.bsr_array(
            (inverse.transpose(0, 2, 1), np.arange(count), np.arange(count + 1)),
            shape=(head, head),
        )
        links = sparse.coo_array((edge.T @ b[:, :head]) @ upper)
        corner -= (links @ links.T).toarray()
        entries.append((links.row + head, links.col, links.data))
    entries.append(_root(corner, head, fitted))
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    size = head + tail
    title = f"L, {size:,} x {size:,}"
    two = (blocks, blocks)
    found = Elements(row, column, value, (size, size))
    return _made(found, (names, names), two, pixels, "element", title)


def _levels_apart(fitted, term):
    """Whether no residual group has rows of several levels of a term."""
    if fitted.fit.residual is None:
        return True
    own, batches = term.codes, fitted.fit.residual.bound.batches
    return all((own[b.rows] == own[b.rows[:, :1]]).all() for b in batches)


def _root(corner, head, fitted):
    """Elements of the Cholesky factor of the tail."""
    scale = np.sqrt(np.diag(corner))
    try:
        root = np.linalg.cholesky(corner / scale / scale[:, None]) * scale[:, None]
    except np.linalg.LinAlgError:
        raise ValueError(
            "L cannot be computed from products of the columns as they are: columns of X "
            "are too nearly dependent. Centre and scale the covariates"
        ) from None
    i, j = np.tril_indices(len(root))
    return i + head, j + head, root[i, j]
