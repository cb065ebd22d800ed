"""Work on blocks of replicates: order, and what is said where a package is missing."""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
import warnings
from functools import partial
from operator import itemgetter

import numpy as np
import pytest

import mixedext as mx
from mixedext.inference.bootstrap.parallel import _by_value, _local_module, runner

BLOCKS = [(3, "a"), (2, "b"), (1, "c")]


@pytest.mark.parametrize("progress", [False, True])
def test_parts_come_in_order(progress):
    pytest.importorskip("tqdm")
    run = runner(None, progress, True)
    assert run(lambda block: block[1] * block[0], BLOCKS) == ["aaa", "bb", "c"]


def test_one_job_needs_no_joblib(monkeypatch):
    monkeypatch.delitem(sys.modules, "joblib", raising=False)
    assert runner(1, False, True)(lambda block: block[0], BLOCKS) == [3, 2, 1]
    assert "joblib" not in sys.modules


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match="n_jobs=2 needs joblib"):
        runner(2, False, True)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="progress=True needs tqdm"):
        runner(None, True, True)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2"])
def test_n_jobs_is_checked(n_jobs):
    with pytest.raises(ValueError, match="n_jobs="):
        runner(n_jobs, False, True)


def test_work_for_a_cluster_needs_no_module_of_this_process(tmp_path, monkeypatch):
    path = tmp_path / "far_away.py"
    path.write_text("def twice(x):\n    return 2 * x\n")
    spec = importlib.util.spec_from_file_location("far_away", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "far_away", module)
    spec.loader.exec_module(module)
    function, payload = _by_value(partial(_apply, module.twice), module.twice)
    assert "mixedext" not in _modules_needed(function.pickled)
    function = pickle.dumps(function)
    by_reference = pickle.dumps(partial(_apply, module.twice))
    monkeypatch.delitem(sys.modules, "far_away")
    assert pickle.loads(function)(payload, 21) == 42
    with pytest.raises(ImportError, match="on every worker"):
        pickle.loads(function)(by_reference, 21)
    assert _local_module(np.mean) is None
    assert _local_module(mx.datasets.load) is None  # wherever mixedext lies
    assert _local_module(partial(_apply, np.mean)).__name__ == __name__


def test_threads_leave_the_filters_of_warnings_alone():
    before = list(warnings.filters)

    def silence(block):
        warnings.simplefilter("ignore")
        return block

    run = runner(2, False, True)
    assert run(silence, [(1, 0), (1, 1)]) == [(1, 0), (1, 1)]
    assert list(warnings.filters) == before


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threading", "multiprocessing", "loky"])
def test_a_bar_with_any_backend(backend, capsys):
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config(backend=backend, n_jobs=2):
        parts = runner(None, True, False)(itemgetter(0), [(3, 0), (4, 1)])
    assert parts == [3, 4]
    assert "7/7" in capsys.readouterr().err


def _apply(function, block):
    return function(block)


def _modules_needed(pickled):
    """Top modules of all that unpickling looks up."""
    seen = set()

    class Seeing(pickle.Unpickler):
        def find_class(self, module, name):
            seen.add(module.partition(".")[0])
            return super().find_class(module, name)

    Seeing(io.BytesIO(pickled)).load()
    assert seen
    return seen
