"""How many threads a fit may use: one, unless the user asks for more.

BLAS threads that wait for a busy core in a spin made fits several times slower, so during
a fit BLAS is held to one, too.  The kernels' own loops are cut into pieces that do not
depend on the number of threads, hence neither do the results.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import operator
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np

__all__ = ["blas_threads", "get_num_threads", "run_pieces", "set_num_threads", "split"]

VARIABLE = "MIXEDEXT_NUM_THREADS"
# Pieces of a loop, whatever the number of threads; loops of less work stay whole.
PIECES = 16
SMALL_WORK = 1e6
# Multiplications below which several BLAS threads lose more by waiting than they gain.
LARGE_WORK = 1e9

# Names under which BLAS libraries let others read and set their number of threads.
_SETTERS = (
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
)

_chosen: int | None = None


def set_num_threads(n: int | None) -> None:
    """Set how many threads fits in this process may use.

    Parameters
    ----------
    n : int or None
        At least 1.  None returns to the default: the environment variable
        ``MIXEDEXT_NUM_THREADS``, or 1.

    Raises
    ------
    ValueError
        If ``n`` is no whole number of at least 1.

    Notes
    -----
    Results do not depend on it, up to rounding.  Worker processes (joblib, dask,
    multiprocessing) always use one thread.  During a fit BLAS is held to one thread, to
    this number for large matrices.

    Examples
    --------
    >>> import mixedext as mx
    >>> mx.set_num_threads(2)
    >>> mx.get_num_threads()
    2
    >>> mx.set_num_threads(None)
    """
    global _chosen
    _chosen = None if n is None else _checked(n, "n")


def get_num_threads() -> int:
    """How many threads a fit in this process may use.

    Returns
    -------
    int
        1 in worker processes; else what ``set_num_threads`` was given, or the environment
        variable ``MIXEDEXT_NUM_THREADS``, or 1.

    Raises
    ------
    ValueError
        If the variable holds no whole number of at least 1.

    Examples
    --------
    >>> import mixedext as mx
    >>> mx.get_num_threads() >= 1
    True
    """
    if _chosen is None and VARIABLE not in os.environ:
        return 1
    if _is_worker():
        return 1
    if _chosen is not None:
        return _chosen
    return _checked(os.environ[VARIABLE], VARIABLE)


def _checked(value, name):
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return number


def _is_worker():
    process = multiprocessing.current_process()
    return (
        process.daemon
        or multiprocessing.parent_process() is not None
        or process.name.startswith("LokyProcess")
    )


@cache
def _libraries():
    """(get, set) of the BLAS libraries that scipy's kernels and numpy call."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]  # compiled
    from scipy.linalg import cython_blas

    found: dict[int | None, tuple[Callable, Callable]] = {}
    for module in (cython_blas, _multiarray_umath):
        try:
            # looking a name up in a handle looks in the libraries it depends on, too
            library = ctypes.CDLL(module.__file__)
        except OSError:  # statically built into the interpreter
            continue
        for names in _SETTERS:
            if all(hasattr(library, name) for name in names):
                get, put = (getattr(library, name) for name in names)
                get.argtypes, get.restype = (), ctypes.c_int
                put.argtypes, put.restype = (ctypes.c_int,), None
                address = ctypes.cast(put, ctypes.c_void_p).value
                found.setdefault(address, (get, put))
    return tuple(found.values()) or _by_threadpoolctl()


def _by_threadpoolctl():
    """The same where a handle shows its own names only (Windows), if that is installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return ()
    blas = ThreadpoolController().select(user_api="blas").lib_controllers
    return tuple((c.get_num_threads, c.set_num_threads) for c in blas)


class _BlasThreads:
    """Context manager; those nested or running at once in other threads share one state."""

    _lock = threading.Lock()
    _depth = 0
    _before: tuple = ()
    _now: tuple = ()

    def __init__(self, large: bool):
        self._large = large

    def __enter__(self) -> _BlasThreads:
        shared = _BlasThreads
        with self._lock:
            if shared._depth == 0:
                # asked once: a call takes a microsecond, a small fit a hundred
                shared._before = shared._now = tuple([get() for get, _ in _libraries()])
            shared._depth += 1
            self._set(get_num_threads() if self._large else 1)
        return self

    def __exit__(self, *_: object) -> None:
        shared = _BlasThreads
        with self._lock:
            shared._depth -= 1
            self._set(None if shared._depth == 0 else 1)

    def _set(self, number):
        """Set all libraries to a number, or, if None, to what they had."""
        shared, libraries = _BlasThreads, _libraries()
        wanted = shared._before if number is None else (number,) * len(libraries)
        if wanted != shared._now:
            for (_, put), now, new in zip(libraries, shared._now, wanted, strict=True):
                if now != new:
                    put(new)
            shared._now = wanted


_SMALL, _LARGE = _BlasThreads(False), _BlasThreads(True)


def blas_threads(work: float = 0.0) -> _BlasThreads:
    """Context in which BLAS uses one thread, or more for large matrices; around every fit.

    Parameters
    ----------
    work : float, optional
        Multiplications of one call; from about 1e9 on BLAS may use ``get_num_threads()``.
    """
    return _LARGE if work >= LARGE_WORK else _SMALL


def split(work: np.ndarray) -> list[tuple[int, int]]:
    """Cut items into runs of about equal work, the same for any number of threads.

    Parameters
    ----------
    work : ndarray
        Work of each item, in about a nanosecond each, (n,).

    Returns
    -------
    list of (int, int)
        First item, and one past the last, of every run.
    """
    n = len(work)
    total = np.cumsum(work, dtype=float)
    if n == 0 or total[-1] < SMALL_WORK:
        return [(0, n)]
    ends = np.searchsorted(total, total[-1] * np.arange(1, PIECES) / PIECES) + 1
    bounds = np.unique(np.concatenate([[0], np.minimum(ends, n), [n]])).tolist()
    return list(pairwise(bounds))


def run_pieces(function: Callable, pieces: list[tuple[int, int]]) -> list:
    """``function(first, last)`` for every piece, by several threads where allowed.

    Parameters
    ----------
    function : callable
        Must release the GIL to gain from threads, and write to no shared element.
    pieces : list of (int, int)
        From ``split``.

    Returns
    -------
    list
        The values in the order of the pieces.
    """
    count = get_num_threads()
    if count == 1 or len(pieces) == 1:
        return [function(*piece) for piece in pieces]
    return list(_pool(count, os.getpid()).map(lambda piece: function(*piece), pieces))


@cache
def _pool(count, process):
    # `process` keeps a fork from waiting for threads that only its parent has
    return ThreadPoolExecutor(count, thread_name_prefix="mixedext")
