"""Work on blocks of replicates: one after the other, or by joblib in the order given."""

from __future__ import annotations

import inspect
import pickle
import sys
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mixedext.arguments import check_jobs

__all__ = ["runner"]

# Backends of joblib whose workers are made by this process and import what it imports.
_LOCAL = {"sequential", "threading", "multiprocessing", "loky"}
_CANNOT_IMPORT = (
    "the workers cannot import what the bootstrap needs ({}): install mixedext, and the "
    "modules that the statistic uses, on every worker"
)


def runner(
    n_jobs: int | None,
    progress: bool,
    releases_gil: bool,
    statistic: Callable | None = None,
) -> Callable[[Callable, Any], list]:
    """A function that maps work over blocks, (count, seed) where progress is shown.

    Parameters
    ----------
    n_jobs : int or None
        Jobs of joblib; what ``joblib.parallel_config`` says, or else one, if None.
    progress : bool
        Whether tqdm shows how many replicates are done.
    releases_gil : bool
        Whether threads do as well as processes; the backend that ``parallel_config``
        names is used all the same.
    statistic : callable, optional
        The user's function, which goes to the workers of a cluster by value if it is not
        of an installed package.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.
    ImportError
        If joblib or tqdm is asked for and not installed.
    """
    check_jobs(n_jobs)
    bar = _progress_bar() if progress else None
    # a backend can only have been chosen where joblib has been imported
    if n_jobs in (None, 1) and "joblib" not in sys.modules:

        def mapped(work, blocks):
            return map(work, blocks)

    else:
        mapped = _by_joblib(n_jobs, progress, releases_gil, statistic)

    def run(work, blocks):
        # threads that silence warnings could leave the filters to each other
        with warnings.catch_warnings():
            parts = mapped(work, blocks)
            if bar is None:
                return list(parts)
            out = []
            total = sum(count for count, _ in blocks)
            with bar(total=total, unit=" replicates") as shown:
                for (count, _), part in zip(blocks, parts, strict=True):
                    out.append(part)
                    shown.update(count)
            return out

    return run


def _by_joblib(n_jobs, progress, releases_gil, statistic):
    try:
        from joblib import Parallel, delayed
        from joblib.parallel import BACKENDS, get_active_backend
    except ImportError as error:
        raise ImportError(
            f"n_jobs={n_jobs!r} needs joblib: pip install 'mixedext[parallel]'"
        ) from error
    prefer = "threads" if releases_gil else None
    backend = get_active_backend(prefer=prefer)[0]
    lazy = progress and getattr(backend, "supports_return_generator", False)
    parallel = Parallel(
        n_jobs=n_jobs, return_as="generator" if lazy else "list", prefer=prefer
    )
    local = tuple(BACKENDS[name] for name in _LOCAL if isinstance(BACKENDS.get(name), type))

    def mapped(work, blocks):
        if isinstance(backend, local):
            return parallel(delayed(work)(block) for block in blocks)
        function, payload = _by_value(work, statistic)
        return parallel(delayed(function)(payload, block) for block in blocks)

    return mapped


def _by_value(work, statistic):
    """A function of (payload, block) and the payload, for workers of a cluster.

    A worker that cannot unpickle a task may never answer.  So tasks are bytes, which are
    unpickled within the task, where an error is told; and the function that does this, and
    the statistic, are sent by value.
    """
    try:
        import cloudpickle
    except ImportError:  # joblib before 1.6 holds its own
        from joblib.externals import cloudpickle

    def dumps(value, module):
        fresh = module is not None and module.__name__ not in {
            getattr(m, "__name__", m) for m in cloudpickle.list_registry_pickle_by_value()
        }
        if fresh:
            cloudpickle.register_pickle_by_value(module)
        try:
            return cloudpickle.dumps(value)
        finally:
            if fresh:
                cloudpickle.unregister_pickle_by_value(module)

    own = _local_module(statistic)
    try:
        payload = dumps(work, own)
    except (TypeError, AttributeError, pickle.PicklingError):
        if own is None:
            raise
        payload = dumps(work, None)  # something in its module has to be imported
    return _Sent(dumps(_unpickle_and_work, sys.modules[__name__])), payload


class _Sent:
    """A pickled function, which comes out of pickling as itself."""

    def __init__(self, pickled):
        self.pickled = pickled

    def __call__(self, *args):
        return pickle.loads(self.pickled)(*args)

    def __reduce__(self):
        return pickle.loads, (self.pickled,)


def _unpickle_and_work(payload, block):
    try:
        work = pickle.loads(payload)
    except ImportError as error:
        raise ImportError(_CANNOT_IMPORT.format(error)) from error
    return work(block)


def _local_module(function: Any) -> ModuleType | None:
    """The module of a function, unless it is an installed one or none at all."""
    while hasattr(function, "func"):  # partial functions
        function = function.func
    module = inspect.getmodule(function) or inspect.getmodule(type(function))
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__ == "__main__":
        return None  # by value as it is, or compiled
    if module.__name__.partition(".")[0] == __name__.partition(".")[0]:
        return None  # mixedext, which every worker needs
    installed = {
        sysconfig.get_path(k) for k in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    parents = {str(parent) for parent in Path(file).resolve().parents}
    known = {str(Path(path).resolve()) for path in installed}
    return None if parents & known else module


def _progress_bar():
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "progress=True needs tqdm: pip install 'mixedext[parallel]'"
        ) from error
    return tqdm
