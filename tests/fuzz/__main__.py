"""Many random cases, from the root of a clone:

    PYTHONPATH=tests python -m fuzz --cases 10000       every fault, by kinds
    PYTHONPATH=tests python -m fuzz --seed 7 --only 137  one case again
    PYTHONPATH=tests python -m fuzz --glmm              of generalized models

Cases run in processes of a few hundred each.  One that dies or hangs is a fault of the case
that it was at, and the next goes on behind it.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from .cases import run_case as run_linear_case
from .glmm_cases import run_glmm_case

BATCH = 250
# Seconds of processor time that a case may take.
HANG = 30


class Hang(BaseException):
    pass


def on_alarm(*_: object) -> None:
    raise Hang


def child(seed: int, first: int, last: int, path: str, glmm: bool) -> None:
    """Run cases; a line of ``path`` before and after each."""
    run_case = run_glmm_case if glmm else run_linear_case
    faulthandler.enable()
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, on_alarm)
    with open(path, "a", buffering=1) as out:
        for number in range(first, last):
            out.write(json.dumps({"begin": number}) + "\n")
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_PROF, HANG)
            try:
                outcome, faults = run_case(seed, number)
            except Hang:
                outcome, faults = "hang", [{"case": number, "fault": "hang"}]
            finally:
                if hasattr(signal, "setitimer"):
                    signal.setitimer(signal.ITIMER_PROF, 0)
            line = {"end": number, "outcome": outcome, "faults": faults}
            out.write(json.dumps(line, default=str) + "\n")


def batch(
    seed: int, first: int, last: int, glmm: bool
) -> tuple[int, Counter, list[dict[str, Any]]]:
    """Outcomes and faults of cases in a process of their own, and where to go on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cases.jsonl")
        command = [sys.executable, "-m", __spec__.name, "--seed", str(seed)]
        command += ["--glmm"] * glmm + ["--child"]
        run = subprocess.run(
            [*command, str(first), str(last), str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    ended = [r for r in records if "end" in r]
    faults = [fault for r in ended for fault in r["faults"]]
    outcomes = Counter(r["outcome"] for r in ended)
    if run.returncode == 0:
        return last, outcomes, faults
    at = first + len(ended)
    faults.append({"case": at, "fault": "crash", "detail": run.stderr[-1500:]})
    return at + 1, outcomes, faults


def report(faults: list[dict[str, Any]]) -> str:
    """Kinds of faults, the most frequent first, each with its first case."""
    kinds = defaultdict(list)
    for fault in faults:
        kinds[fault["fault"]].append(fault)
    lines = []
    for kind, members in sorted(kinds.items(), key=lambda item: -len(item[1])):
        one = members[0]
        lines.append(f"{len(members):5d}  {kind}")
        lines.append(f"       case {one['case']}, {one.get('step')}: {one.get('formula')}")
        lines.append(f"       {one.get('detail', '')[:200]}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--only", type=int, help="one case, by its number")
    parser.add_argument("--glmm", action="store_true", help="generalized models")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        first, last, path = options.child
        child(options.seed, int(first), int(last), path, options.glmm)
        return 0
    if options.only is not None:
        run_case = run_glmm_case if options.glmm else run_linear_case
        outcome, faults = run_case(options.seed, options.only)
        print(outcome, json.dumps(faults, indent=1, default=str))
        return int(bool(faults))
    first, outcomes, faults = 0, Counter(), []
    while first < options.cases:
        last = min(first + BATCH, options.cases)
        first, more, found = batch(options.seed, first, last, options.glmm)
        outcomes += more
        faults += found
        print(f"... {first} cases, {len(faults)} faults", file=sys.stderr, flush=True)
    print(report(faults))
    print("outcomes:", dict(outcomes.most_common()))
    print(f"{options.cases} cases, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
