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


def test_no_fault_of_generalized_models():
    # a few of them: quadrature with families without compiled loops takes its time;
    # ``python -m fuzz --glmm --cases 2000`` runs many
    faults = []
    for number in range(8):
        faults += run_glmm_case(2026, number)[1]
    assert not faults, report(faults)
