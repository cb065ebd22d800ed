"""Settings of all tests."""

import os

# Before numpy is loaded: BLAS threads of several workers would wait for each other's cores,
# and sums by one thread come out the same on every machine.
for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy  # noqa: E402
import pytest  # noqa: E402
import scipy  # noqa: E402
import statsmodels  # noqa: E402
from helpers.blas import blas_cores, processor  # noqa: E402
from helpers.formula_use import FormulaUse  # noqa: E402
from hypothesis import settings  # noqa: E402

# The same designs in every run; HYPOTHESIS_PROFILE=search draws new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Workers of ``-n auto``: one a core; more than eight start longer than they save."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(os.cpu_count() or 1 if usable is None else len(usable(0)), 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Runs of tests that stand together, so that fixtures of a file are made once."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.option.dist == "load" else None


# ---- tests that ask the formula engine are marked formula_engine ----

USE = FormulaUse()


def pytest_collection_finish():
    USE.watch()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    with USE.of_fixture(fixturedef):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    USE.forget()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    outcome = yield
    if USE.by(item) and item.get_closest_marker("formula_engine") is None:
        pytest.fail(
            "this test, or a fixture of it, asks the formula engine: mark it, or its "
            "file, formula_engine, so that it is run under the second engine, too",
            pytrace=False,
        )
    return outcome


def pytest_report_header():
    """What the numbers may depend on: processor, BLAS kernels, versions."""
    versions = {"numpy": numpy, "scipy": scipy, "statsmodels": statsmodels}
    cores = blas_cores()
    return [
        f"processor: {processor()}",
        "OpenBLAS: " + ", ".join(f"{name} {core}" for name, core in cores.items()),
        ", ".join(f"{name} {module.__version__}" for name, module in versions.items()),
    ]
