"""Where the search for (theta, psi) starts: moments of ordinary residuals.

Residuals of y on X, divided by the standard deviations that a regression of log r^2 gives,
are cross-multiplied within residual groups: over visits for each pair of them, over
distances in bins.  What a structure makes of these correlations, and its other candidates,
are all evaluated once; the best few are searched from.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.residual.visit_part import VisitPart
from mixedext.specification.covariance.residual_binding import Batch

__all__ = ["starting_psi"]

# Bins of distances, rows of the groups that moments are taken of, and the smallest square
# of a residual, by their mean square, whose logarithm is taken.
BINS, MOST_ROWS, LEAST_SQUARE = 20, 200_000, 1e-12
# Parts of the moment correlation that random effects may have made.
SHARES = 1.0, 0.5
# Pairs of rows in all that moments by distance are taken of, and of each row at least.
MOST_PAIRS, FEWEST_LAGS = 2**19, 20


def starting_psi(rows: ResidualRows) -> list[np.ndarray]:
    """Candidates of psi, that of the moments first."""
    parts = rows.parts
    if isinstance(parts[0], VisitPart) and len(rows.bound.functions) <= 1:
        return _joined(*_from_parts(rows, parts))
    residual = rows.columns[:, -1]
    first = rows.curves[0]
    batches = [list(_batches(rows.bound.batches, k)) for k in range(len(rows.curves))]
    every = [pair for own in batches for pair in own]
    parts, scaled = _sd_start(first, every, residual)
    common = np.concatenate([*parts, np.zeros(0)])
    if not first.n_own:
        return [common]
    found, start = [], 0
    for curve, own in zip(rows.curves, batches, strict=True):
        level = scaled[start : start + len(own)]
        start += len(own)
        moments = _moments(curve, own, level)
        candidates = []
        for share in SHARES if rows.terms else SHARES[:1]:
            assert curve.correlation is not None
            shrunk = _shrunk(moments[0], share, curve.correlation)
            made = curve.correlation.starts(shrunk, *moments[1:])
            candidates += made if share == 1.0 else made[:1]
        found.append(candidates)
    return _joined(common, found)


def _joined(common, found):
    """The k-th candidate of every level, its last where it has fewer."""
    count = max(map(len, found))
    return [
        np.concatenate([common, *(own[min(k, len(own) - 1)] for own in found)])
        for k in range(count)
    ]


def _from_parts(rows, parts):
    """Starts of standard deviations, and candidates by level, from sums over visits."""
    moments = [part.moments() for part in parts]
    common = np.zeros(rows.curves[0].n_sd)
    if rows.bound.functions:
        count = len(common) + 1
        square, number = np.zeros(count), np.zeros(count)
        for part, (total, pairs) in zip(parts, moments, strict=True):
            strata = part.places.strata[0][0]
            square += np.bincount(strata, total.diagonal(), count)
            number += np.bincount(strata, pairs.diagonal(), count)
        mean = square / np.maximum(number, 1.0)
        mean = np.maximum(mean, LEAST_SQUARE * max(float(mean.max()), 1e-300))
        common = 0.5 * np.log(mean[1:] / mean[0])
    found = []
    for part, (total, pairs) in zip(parts, moments, strict=True):
        own = np.exp(part.curve.log_sd_of_functions(common, part.places)[0])
        total = total / np.outer(own, own)
        found.append(part.curve.correlation.starts(*_scaled(part.curve, total, pairs)))
    return common, found


def _batches(batches, level) -> Iterator[tuple[Batch, np.ndarray]]:
    """Every batch with the numbers of its groups of that level, all in MOST_ROWS rows."""
    left = MOST_ROWS
    for batch in batches:
        here = np.flatnonzero(batch.level[batch.pattern] == level)
        size = batch.rows.shape[1]
        here = here[: max(left // size, 0)]
        left -= len(here) * size
        if len(here):
            yield batch, here


def _sd_start(curve, batches, residual):
    """Starts of the variance functions, and residuals divided by them."""
    rows = [residual[batch.rows[here]] for batch, here in batches]
    square = np.concatenate([r.ravel() ** 2 for r in rows])
    mean = float(square.mean()) or 1.0
    floor = np.maximum(square, LEAST_SQUARE * mean)
    log_square = np.log(floor)
    parts, log_sd = [], np.zeros(len(square))
    for number, function in enumerate(curve.functions):
        strata = np.concatenate(
            [b.strata[number][b.pattern[here]].ravel() for b, here in batches]
        )
        covariate = None
        if batches[0][0].covariates[number] is not None:
            covariate = np.concatenate(
                [b.covariates[number][b.pattern[here]].ravel() for b, here in batches]
            )
        own = function.start(log_square - 2 * log_sd, strata, covariate)
        parts.append(np.asarray(own, float))
        if function.n_psi:
            log_sd += function.log_sd(parts[-1], strata, covariate)
        else:
            log_sd += function.log_sd(np.zeros(0), strata, covariate)
    ends = np.cumsum([0, *(r.size for r in rows)])
    scaled = [
        r * np.exp(-log_sd[a:b]).reshape(r.shape)
        for r, a, b in zip(rows, ends, ends[1:], strict=False)
    ]
    return parts, scaled


def _moments(curve, batches, scaled):
    """Moment correlations (covariances of an unstructured matrix), and pairs."""
    if curve.correlation.over_visits:
        return _over_visits(curve, batches, scaled)
    return _over_distances(batches, scaled)


def _over_visits(curve, batches, scaled):
    m = 1 + max(int(b.place.max(initial=0)) for b, _ in batches)
    m = max(m, getattr(curve.correlation, "m", m))
    total, pairs = np.zeros(m * m), np.zeros(m * m)
    for (batch, here), rows in zip(batches, scaled, strict=True):
        visits = batch.place[batch.pattern[here]]
        at = (visits[:, :, None] * m + visits[:, None, :]).ravel()
        total += np.bincount(at, (rows[:, :, None] * rows[:, None, :]).ravel(), m * m)
        pairs += np.bincount(at, minlength=m * m)
    return _scaled(curve, total.reshape(m, m), pairs.reshape(m, m))


def _scaled(curve, total, pairs):
    """Correlations (covariances of an unstructured matrix) of sums of products."""
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = total / pairs
    if curve.correlation.is_covariance:
        return covariance, pairs
    variance = np.trace(total) / max(np.trace(pairs), 1.0)
    if curve.functions:
        sd = np.sqrt(np.diag(covariance))
        with np.errstate(divide="ignore", invalid="ignore"):
            return covariance / np.outer(sd, sd), pairs
    return covariance / (variance or 1.0), pairs


def _over_distances(batches, scaled):
    products, distances = [], []
    square = count = 0.0
    for (batch, here), rows in zip(batches, scaled, strict=True):
        square += float((rows**2).sum())
        count += rows.size
        a, b = _pairs(*rows.shape)
        products.append((rows[:, a] * rows[:, b]).ravel())
        of = batch.pattern[here][:, None]
        distances.append(np.asarray(batch.place[of, a, b]).ravel())
    product, distance = np.concatenate(products), np.concatenate(distances)
    variance = square / count or 1.0
    edges = np.unique(np.quantile(distance, np.linspace(0, 1, BINS + 1)))
    bin_ = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, BINS - 1)
    pairs = np.bincount(bin_, minlength=BINS).astype(float)
    used = pairs > 0
    correlation = np.bincount(bin_, product, BINS)[used] / pairs[used] / variance
    mean = np.bincount(bin_, distance, BINS)[used] / pairs[used]
    return correlation, pairs[used], mean


def _pairs(n_groups, size):
    """Places of pairs of rows of a group; of very many those at some distances of place."""
    if n_groups * size * (size - 1) / 2 <= MOST_PAIRS:
        return np.tril_indices(size, -1)
    count = max(MOST_PAIRS // (n_groups * size), FEWEST_LAGS)
    lags = np.unique(np.geomspace(1, size - 1, count).astype(int))
    a = np.concatenate([np.arange(lag, size) for lag in lags])
    return a, a - np.repeat(lags, size - lags)


def _shrunk(moments, share, correlation):
    """Moments with correlations times ``share``."""
    if share == 1.0:
        return moments
    out = share * moments
    if correlation.over_visits:
        np.fill_diagonal(out, np.diag(moments))
    return out
