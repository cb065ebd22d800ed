"""Settings of all tests."""

import os

import numpy
import scipy
import statsmodels
from helpers.blas import blas_cores, processor
from hypothesis import settings

# The same designs in every run; HYPOTHESIS_PROFILE=search draws new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_report_header():
    """What the numbers may depend on: processor, BLAS kernels, versions."""
    versions = {"numpy": numpy, "scipy": scipy, "statsmodels": statsmodels}
    cores = blas_cores()
    return [
        f"processor: {processor()}",
        "OpenBLAS: " + ", ".join(f"{name} {core}" for name, core in cores.items()),
        ", ".join(f"{name} {module.__version__}" for name, module in versions.items()),
    ]
