"""Work on blocks of replicates: order, and what is said where a package is missing."""

from __future__ import annotations

import sys

import pytest

from mixedext.results_parts.replication import runner

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
