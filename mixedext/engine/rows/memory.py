"""Memory that a fit will take, estimated before anything large is allocated."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

__all__ = ["MemoryEstimate", "available_memory", "estimate_memory", "tail_bytes"]

VARIABLE = "MIXEDEXT_MEMORY_LIMIT"
NUMBER = 8  # bytes of a double, and of an index
# Arrays as large as the tail: Z2'Z2, N with C22 in its other triangle, and L22.
DENSE_ARRAYS = 3
# By columns: row numbers, Z2'Z2 (twice, once without its zeros, and its rows), N, C22.
PATTERN_ARRAYS = 4
# What is not worth asking the system whether it is there.
NEGLIGIBLE = 50e6
# Estimates leave out small arrays and what the allocator wastes.
SHARE = 0.9

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Layout(Protocol):
    """What counts of a grouping factor (engine.rows.products)."""

    @property
    def group(self) -> str: ...
    @property
    def n_levels(self) -> int: ...
    @property
    def width(self) -> int: ...


class Pattern(Protocol):
    """What counts of the pattern of a sparse tail (engine.factor.tail_pattern)."""

    @property
    def pointers(self) -> np.ndarray: ...
    @property
    def rows(self) -> np.ndarray: ...
    @property
    def supernodes(self) -> np.ndarray | None: ...


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a fit needs beyond the data, by what needs them.

    Attributes
    ----------
    lead, links, tail : int
        Cross-products and factor of the leading grouping factor; what ties the tail to
        it; the tail with its factor and inverse.
    storage : str
        How the tail is stored.
    factors : tuple of str
        Each grouping factor with its levels and columns, the leading one first (empty
        if there is none).
    """

    lead: int
    links: int
    tail: int
    storage: str
    factors: tuple[str, ...]

    @property
    def total(self) -> int:
        """Bytes altogether."""
        return self.lead + self.links + self.tail

    def __str__(self) -> str:
        return (
            f"{_size(self.total)} (leading factor {_size(self.lead)}, "
            f"links {_size(self.links)}, {self.storage} tail {_size(self.tail)})"
        )

    def check(self, available: float | None = None) -> None:
        """Refuse a fit that would not fit into memory.

        Parameters
        ----------
        available : float, optional
            Bytes that may be used; ``available_memory()`` if None.

        Raises
        ------
        MemoryError
            With the estimate, the grouping factors that cause it, and advice.
        """
        if available is None:
            if self.total < NEGLIGIBLE:
                return
            available = available_memory()
        if self.total <= SHARE * available:
            return
        largest = max((self.tail, "tail"), (self.lead, "lead"), (self.links, "links"))[1]
        if largest == "tail":
            why = "Rows belong to several levels at once, so the factors"
            if self.factors[0]:
                why = f"Their levels are crossed, so the factors beside {self.factors[0]}"
            cause = f"{why} need a {self.storage} matrix: {', '.join(self.factors[1:])}. "
            advice = (
                "Drop or coarsen the crossed factor with the most columns, merge its "
                "rarest levels, or fit a random sample of the rows"
            )
        else:
            cause = f"Most of it is for {', '.join(self.factors)}. "
            advice = "Use fewer random-effects columns, or fit a random sample of the rows"
        raise MemoryError(
            f"the fit needs about {self}, but only {_size(available)} are available. "
            f"{cause}{advice}; or allow more by the environment variable {VARIABLE} "
            "(such as 64G)"
        )


def estimate_memory(
    factors: Sequence[Layout],
    n_links: int,
    n_fixed: int,
    pattern: Pattern | None = None,
    n_stored: int | None = None,
) -> MemoryEstimate:
    """Memory of the cross-products and of everything computed from them in a fit.

    Parameters
    ----------
    factors : sequence of FactorLayout
        ``group``, ``n_levels`` and ``width`` of the grouping factors, the leading first.
    n_links : int
        Pairs (level of the leading factor, scalar column of the tail) that meet.
    n_fixed : int
        Columns of X and y together.
    pattern : TailPattern, optional
        Pattern of the tail; None for a dense one.
    n_stored : int, optional
        Stored values of a sparse tail whose pattern is not known yet.

    Returns
    -------
    MemoryEstimate
    """
    if not factors:
        return MemoryEstimate(0, 0, 0, "no", ())
    first = factors[0]
    k, m = first.width, sum(f.n_levels * f.width for f in factors[1:])
    # gram, half, shrinkage; cross, solved, response, effect, and the vectors projected
    lead = first.n_levels * (3 * k * k + 7 * k * n_fixed)
    # number, by column its number and level; value, W, edge
    links = n_links * (3 + 3 * k)
    storage = "no" if m == 0 else "dense"
    if pattern is not None or n_stored is not None:
        storage = "sparse"
    return MemoryEstimate(
        NUMBER * lead,
        NUMBER * links,
        tail_bytes(m, pattern, n_stored) + NUMBER * 7 * m * n_fixed,
        storage,
        tuple(_described(f) for f in factors),
    )


def _described(factor):
    if not factor.n_levels:
        return ""
    columns = f" x {factor.width} columns" if factor.width > 1 else ""
    return (
        f"{factor.group} ({factor.n_levels:,} level{'s' * (factor.n_levels != 1)}{columns})"
    )


def tail_bytes(m: int, pattern: Pattern | None = None, n_stored: int | None = None) -> int:
    """Bytes of the tail's matrices during a fit with derivatives.

    Parameters
    ----------
    m : int
        Scalar columns of the tail.
    pattern : TailPattern, optional
        Its pattern; None for a dense tail.
    n_stored : int, optional
        Stored values of a sparse tail whose pattern is not known yet.
    """
    if pattern is None:
        if n_stored is None:
            return NUMBER * DENSE_ARRAYS * m * m
        # panels are a little larger than the columns that they hold
        return NUMBER * n_stored * (PATTERN_ARRAYS + 3)
    stored = len(pattern.rows)
    if pattern.supernodes is None:
        return NUMBER * stored * (PATTERN_ARRAYS + 1)
    start = pattern.supernodes
    width, height = np.diff(start), np.diff(pattern.pointers)[start[:-1]]
    panels = int((width * height).sum())
    below = int((height - width).max(initial=0))
    work = int(height.max(initial=0) * width.max(initial=0))
    return NUMBER * (stored * PATTERN_ARRAYS + 2 * panels + below**2 + work)


def available_memory() -> float:
    """Bytes that this process may still take; infinite where nothing is known.

    Returns
    -------
    float
        The environment variable ``MIXEDEXT_MEMORY_LIMIT`` (bytes, or as 8G) if set; else
        what the system reports as available, within the limit of the control group.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return _parsed(given)
    return min(_system_memory(), _group_memory(Path("/sys/fs/cgroup")))


def _parsed(text):
    match = re.fullmatch(r"\s*([0-9.]+)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    try:
        if match is None:
            raise ValueError
        return float(match[1]) * _UNITS[match[2].upper()]
    except ValueError:
        raise ValueError(
            f"{VARIABLE} must be a number of bytes, or one with K, M, G or T, not {text!r}"
        ) from None


def _system_memory():
    meminfo = _read(Path("/proc/meminfo"))
    found = re.search(r"MemAvailable:\s*(\d+) kB", meminfo)
    if found:
        return 1024.0 * int(found[1])
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    return np.inf


def _group_memory(folder):
    """What the control group of a container leaves (version 2, then version 1)."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        most, now = _read(folder / limit).strip(), _read(folder / used).strip()
        if most.isdigit() and now.isdigit():
            stat = _read((folder / used).parent / "memory.stat")
            found = re.search(rf"^{cache} (\d+)$", stat, re.MULTILINE)
            return max(0.0, float(most) - float(now) + (float(found[1]) if found else 0.0))
    return np.inf


def _read(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def _size(count):
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
