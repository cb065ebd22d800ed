"""Run the engine's tests over kernels that watch themselves.

By hand, before a release, and after a change of a kernel:

    python tests/watched_kernels.py boundscheck   every index of a memoryview is checked
    python tests/watched_kernels.py sanitize      AddressSanitizer and UBSan watch (Linux)

The kernels are built in a copy of the clone, ``build/watched/``, and stay there for another
time.  What stands after ``--`` goes to pytest, in place of the directories that call the
kernels.  An index out of bounds inside a kernel that cannot raise is reported as an
unraisable exception, which fails the test; the sanitizers end the process at the first
fault and say where it is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("mixedext", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE")
TESTS = ["tests/kernels", "tests/algebra", "tests/engine"]


def copy_of_clone(build: str) -> Path:
    """The clone without compiled kernels; its own, of an earlier time, stay."""
    folder = ROOT / "build" / "watched" / build
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            ignored = shutil.ignore_patterns("*.so", "*.pyd", "*.c", "__pycache__")
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy2(source, target)
    return folder


def environment(build: str) -> dict[str, str]:
    """What the build, and the interpreter that loads it, need."""
    own = os.environ | {"MIXEDEXT_BUILD": build, "OPENBLAS_NUM_THREADS": "1"}
    if build == "sanitize":
        # the interpreter is not built with the sanitizers: they must be there before it
        libraries = [runtime(name) for name in ("libasan.so", "libubsan.so")]
        own |= {
            "WATCHED_PRELOAD": ":".join(libraries),
            # Python keeps what it allocates until the end
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        }
    return own


def runtime(name: str) -> str:
    """Where the compiler has a library of its own."""
    compiler = os.environ.get("CC", "gcc").split()[0]
    found = subprocess.run(
        [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        sys.exit(f"{compiler} has no {name}: install the sanitizers' runtime")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", choices=("boundscheck", "sanitize"))
    parser.add_argument("pytest", nargs="*", help="arguments of pytest")
    options = parser.parse_args(arguments)
    folder, own = copy_of_clone(options.build), environment(options.build)
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=folder, env=own, check=True)
    preload = own.pop("WATCHED_PRELOAD", None)
    if preload is not None:
        own["LD_PRELOAD"] = preload
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"),
        *("-W", "error::pytest.PytestUnraisableExceptionWarning"),
        *(options.pytest or TESTS),
    ]
    own["PYTHONPATH"] = str(folder)
    return subprocess.run(command, cwd=folder, env=own, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
