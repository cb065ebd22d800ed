"""Work on blocks of replicates: one after the other, or by joblib in the order given."""

from __future__ import annotations

import sys

import numpy as np

__all__ = ["runner"]


def runner(n_jobs, progress, releases_gil):
    """A function that maps work over blocks (count, seed).

    Parameters
    ----------
    n_jobs : int or None
        Jobs of joblib; what ``joblib.parallel_config`` says, or else one, if None.
    progress : bool
        Whether tqdm shows how many replicates are done.
    releases_gil : bool
        Whether threads do as well as processes; the backend that ``parallel_config``
        names is used all the same.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.
    ImportError
        If joblib or tqdm is asked for and not installed.
    """
    if n_jobs is not None and (not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise ValueError(f"n_jobs={n_jobs!r} must be a whole number other than 0, or None")
    # a backend can only have been chosen where joblib has been imported
    if n_jobs in (None, 1) and "joblib" not in sys.modules:
        parallel = None
    else:
        try:
            from joblib import Parallel, delayed
        except ImportError as error:
            raise ImportError(
                f"n_jobs={n_jobs!r} needs joblib: pip install 'mixedext[parallel]'"
            ) from error
        parallel = Parallel(
            n_jobs=n_jobs,
            return_as="generator" if progress else "list",
            prefer="threads" if releases_gil else None,
        )
    bar = _progress_bar() if progress else None

    def run(work, blocks):
        if parallel is None:
            parts = map(work, blocks)
        else:
            parts = parallel(delayed(work)(block) for block in blocks)
        if bar is None:
            return list(parts)
        out = []
        with bar(total=sum(count for count, _ in blocks), unit=" replicates") as shown:
            for (count, _), part in zip(blocks, parts, strict=True):
                out.append(part)
                shown.update(count)
        return out

    return run


def _progress_bar():
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "progress=True needs tqdm: pip install 'mixedext[parallel]'"
        ) from error
    return tqdm
