"""``python -m mixedext``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import mixedext as mx
from mixedext.cli import main

SLEEP = "Reaction ~ Days + (Days | Subject)"


def test_bundled_data(capsys, tmp_path):
    out = tmp_path / "out.json"
    assert main([SLEEP, "--data", "sleepstudy", "--json", str(out)]) == 0
    printed = capsys.readouterr()
    assert "1743.6283" in printed.out
    assert printed.err == ""
    content = json.loads(out.read_text())
    assert content["deviance"] == pytest.approx(1743.62827195, rel=1e-10)
    assert content["fixed_effects"]["Days"]["se"] == pytest.approx(1.5457889, rel=1e-6)
    assert content["var_corr"][0]["corr"] is None
    assert content["n_levels"] == {"Subject": 18}
    assert content["converged"] is True


def test_tests_are_those_of_the_model(capsys, tmp_path):
    out = tmp_path / "out.json"
    pulp = ["bright ~ operator", "--data", "pulp"]
    assert main([*pulp, "--json", str(out)]) == 0
    assert "residual" in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content["df_method"] == "residual"
    effect = content["fixed_effects"]["operator[T.d]"]
    assert effect["df"] == 16
    assert effect["pvalue"] == pytest.approx(0.048637, abs=5e-7)
    assert main([SLEEP, "--data", "sleepstudy"]) == 0
    text = capsys.readouterr().out
    assert "satterthwaite" in text
    # variances on the scale of the data, without tests
    assert "35.072   14.782" in text
    assert "*" not in text
    assert main([SLEEP, "--data", "sleepstudy", "--df-method", "z"]) == 0
    assert "P>|z|" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([SLEEP, "--data", "sleepstudy", "--df-method", "none"])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_files(suffix, tmp_path, capsys):
    data = mx.datasets.sleepstudy.load().data
    path = tmp_path / f"data.{suffix}"
    if suffix == "parquet":
        data.to_parquet(path)
    else:
        data.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    assert main([SLEEP, "--data", str(path), "--ml", "--df-method", "residual"]) == 0
    text = capsys.readouterr().out
    assert "1751.9393" in text
    assert "P>|t|" in text


def test_information_of_kenward_and_roger(capsys):
    arguments = [SLEEP, "--data", "sleepstudy", "--df-method", "kenward-roger"]
    assert main([*arguments, "--information", "observed"]) == 0
    assert "kenward-roger (observed information)" in capsys.readouterr().out
    assert main([SLEEP, "--data", "sleepstudy", "--information", "observed"]) == 2
    assert "df_method='kenward-roger'" in capsys.readouterr().err


def test_weights_offset_and_missing(tmp_path, capsys):
    data = mx.datasets.sleepstudy.load().data.assign(w=2.0, o=1.0)
    data.loc[0, "Days"] = np.nan
    path = tmp_path / "data.csv"
    data.to_csv(path, index=False)
    arguments = [SLEEP, "--data", str(path), "--weights", "w", "--offset", "o"]
    assert main(arguments) == 2
    assert "missing values in Days (1)" in capsys.readouterr().err
    assert main([*arguments, "--missing", "drop"]) == 0
    assert "179" in capsys.readouterr().out


def test_warnings_are_lines(capsys):
    assert main(["Yield ~ 1 + (1 | Batch)", "--data", "dyestuff2"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("mixedext: warning: The random effects covariance")
    assert "Singular fit" in printed.out


@pytest.mark.formula_engine
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([SLEEP, "--data", "nope"], "neither a bundled data set"),
        ([SLEEP, "--data", "nope.csv"], "no such file"),
        (["Reaction ~ Dys", "--data", "sleepstudy"], "Dys"),
        (["Reaction ~ Days + (1 | S)", "--data", "sleepstudy"], "'S' is not a column"),
        (["Reaction ~ Days + (1 | Subject", "--data", "sleepstudy"], "bracket"),
        (["Reaction ~ (1 | Days:Subject)", "--data", "sleepstudy"], "180 levels"),
        (["Reaction", "--data", "sleepstudy"], "exactly one '~'"),
        ([SLEEP, "--data", "sleepstudy", "--weights", "w"], "weights='w'"),
        ([SLEEP, "--data", "sleepstudy", "--json", "/nowhere/o.json"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, match, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.err.startswith("mixedext: ")
    assert match in printed.err


def test_unreadable_files(tmp_path, capsys):
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not parquet")
    for path in (empty, broken):
        assert main([SLEEP, "--data", str(path)]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is no BrokenPipeError")
def test_a_reader_who_has_had_enough(monkeypatch):
    """As in ``| head``: no traceback, neither now nor when the rest is flushed."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as unread, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", unread)
        assert main([SLEEP, "--data", "sleepstudy"]) == 0


@pytest.mark.slow
def test_module_can_be_run():
    command = [sys.executable, "-m", "mixedext"]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "FORMULA" in done.stdout
    bad = subprocess.run([*command, "y ~ x"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2


@pytest.mark.formula_engine
def test_a_formula_that_would_end_the_program(capsys):
    assert main(["Reaction ~ exit(7) + (1 | Subject)", "--data", "sleepstudy"]) == 2
    assert "would end the program (SystemExit: 7)" in capsys.readouterr().err


def test_help_says_that_formulas_run(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "run as Python" in " ".join(capsys.readouterr().out.split())


def test_residual_covariance(capsys, tmp_path):
    out = tmp_path / "out.json"
    arguments = ["Reaction ~ Days", "--data", "sleepstudy", "--json", str(out)]
    own = ["--residual", "ar1(Days | Subject)"]
    assert main([*arguments, *own]) == 0
    printed = capsys.readouterr()
    assert "ar1(Days | Subject)" in printed.out
    assert printed.err == ""
    content = json.loads(out.read_text())["residual"]
    assert content["structure"] == "ar1(Days | Subject)"
    assert content["parameters"]["rho"]["sas"] == "AR(1)"
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days", data, residual="ar1(Days | Subject)").fit()
    rho = result.residual.params["rho"]
    assert content["parameters"]["rho"]["estimate"] == pytest.approx(rho, rel=1e-10)
    assert main([*arguments, "--variance", "ident(Subject)"]) == 0
    assert "Var(308)" in capsys.readouterr().out
    assert main([*arguments, "--residual", "ar2(Days | Subject)"]) == 2
