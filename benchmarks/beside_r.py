"""What the comparisons with R share: options, processes, and seconds as text."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["in_child", "in_seconds", "read_options", "without_r"]


def without_r(*packages: str) -> str | None:
    """Why R's packages cannot be run, or None."""
    if shutil.which("Rscript") is None:
        return "Rscript is not installed"
    loaded = "; ".join(f"library({name})" for name in packages)
    found = subprocess.run(["Rscript", "-e", loaded], capture_output=True)
    return f"R's {' and '.join(packages)} cannot be loaded" if found.returncode else None


def read_options(
    description: str | None, names: Iterable[str], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """The command line of a comparison of models with these names."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, names = parser.add_argument, list(names)
    add("--only", nargs="+", choices=names, default=names, metavar="NAME")
    add("--quick", action="store_true", help="small data")
    add("--without-r", action="store_true", help="mixedext alone")
    add("--json", type=Path, help="file for all figures")
    add("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def in_child(script: str, name: str, folder: Any) -> dict[str, Any]:
    """Figures of mixedext from a process of its own, which prints them last."""
    command = [sys.executable, script, "--child", name, str(folder)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def in_seconds(value: float) -> str:
    """Seconds, or milliseconds, with three digits."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"
