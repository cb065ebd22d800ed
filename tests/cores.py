"""Run the tests with numbers under the kernels that OpenBLAS has for several processors.

By hand, before a release:

    python tests/cores.py                         all of them, by the default cores
    python tests/cores.py --cores Haswell Nehalem -- tests/engine -x -n 2

What stands after ``--`` goes to pytest, in place of the directories with numbers.  Cores
that this processor, or this build of OpenBLAS, does not have are named and left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORES = ("SkylakeX", "Haswell", "Zen", "Nehalem")
NUMBERS = [
    f"tests/{name}"
    for name in (
        "algebra",
        "engine",
        "inference",
        "kernels",
        "models",
        "specification",
        "test_econometric_frames.py",
        "test_reference.py",
        "test_statsmodels_suite.py",
        "test_traps.py",
    )
]
# Says which kernels run, after it has run some of them.
PROBE = """
import numpy as np
from scipy import linalg
from helpers.blas import blas_cores
a = np.eye(40) + np.ones((40, 40))
np.linalg.eigh(a @ a), linalg.cholesky(a @ a), np.linalg.svd(a)
print({core.split()[0] for core in blas_cores().values()} or "")
"""


def environment(core: str) -> dict[str, str]:
    """The environment in which OpenBLAS takes a core's kernels, and blocks of their own."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    path = os.pathsep.join(filter(None, [str(ROOT / "tests"), own.get("PYTHONPATH")]))
    return own | {
        "OPENBLAS_CORETYPE": core,
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": path,
    }


def found_under(core: str) -> str | None:
    """The core whose kernels run where one is asked for; None if they do not run."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=environment(core),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip(" {}'\n") if done.returncode == 0 else None


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", nargs="+", default=CORES, metavar="CORE")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest")
    options = parser.parse_args(arguments)
    command = [sys.executable, "-m", "pytest", "-q", *(options.pytest or NUMBERS)]
    rows, run, failed = [], set(), False
    for core in options.cores:
        found = found_under(core)
        if found is None:
            rows.append((core, "does not run on this processor"))
        elif found in run:
            rows.append((core, f"here the same as {found}"))
        else:
            run.add(found)
            label = core if found.lower() == core.lower() else f"{core} ({found})"
            print(f"== {label}", flush=True)
            start = time.monotonic()
            status = subprocess.run(
                command, cwd=ROOT, env=environment(core), check=False
            ).returncode
            failed |= status != 0
            words = "passed" if status == 0 else f"failed, pytest's status {status}"
            rows.append((label, f"{words} in {time.monotonic() - start:.0f} s"))
    print("\n== cores")
    for name, words in rows:
        print(f"{name:20} {words}")
    return int(failed or not run)


if __name__ == "__main__":
    sys.exit(main())
