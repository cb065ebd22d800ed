"""What asks the formula engine unmarked fails, so that the marks stay complete."""

from __future__ import annotations

import pytest
from helpers.paths import ROOT
from helpers.scripts import run_script

TESTS = """
import pytest

import mixedext as mx

data = mx.datasets.sleepstudy.load().data


def test_plain():
    mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)


def test_asks():
    mx.mixedlm("Reaction ~ I(Days + 1) + (1 | Subject)", data)


@pytest.mark.formula_engine
def test_asks_and_says_so():
    mx.mixedlm("Reaction ~ I(Days + 1) + (1 | Subject)", data)


@pytest.fixture(scope="module")
def model():
    return mx.mixedlm("Reaction ~ I(Days + 1) + (1 | Subject)", data)


@pytest.fixture
def shifted(model):
    return model.endog + 1.0


@pytest.mark.formula_engine
def test_makes_the_fixture(model):
    pass


def test_finds_it_made(shifted):
    pass
"""


@pytest.mark.slow
def test_unmarked_tests_that_ask_fail(tmp_path):
    (tmp_path / "test_asking.py").write_text(TESTS)
    conftest = (ROOT / "tests" / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(conftest)
    options = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    options += ["-o", f"pythonpath={ROOT / 'tests'}", "-p", "no:cacheprovider"]
    output = run_script(tmp_path, "-m", "pytest", *options, "test_asking.py")
    for name in ("test_asks", "test_finds_it_made"):
        assert f"FAILED test_asking.py::{name} - Failed: this test" in output.stdout
    assert "2 failed, 3 passed" in output.stdout, output.stdout
