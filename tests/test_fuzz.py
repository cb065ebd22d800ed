"""Some cases of the fuzz, the same in every run; CONTRIBUTING.md says how to run more."""

from __future__ import annotations

import pytest
from fuzz.__main__ import report
from fuzz.cases import run_case
from fuzz.glmm_cases import run_glmm_case

pytestmark = [pytest.mark.slow, pytest.mark.formula_engine]

CASES, PARTS = 300, 6


@pytest.mark.parametrize("part", range(PARTS))
def test_no_fault(part):
    faults = []
    for number in range(part, CASES, PARTS):
        faults += run_case(2026, number)[1]
    assert not faults, report(faults)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_fault_of_generalized_models(part):
    faults = []
    for number in range(part, CASES, PARTS):
        faults += run_glmm_case(2026, number)[1]
    assert not faults, report(faults)
