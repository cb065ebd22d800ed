"""Scripts in an interpreter of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from helpers.paths import ROOT

__all__ = ["run_script"]


def run_script(folder, *command) -> subprocess.CompletedProcess:
    """What a script in a folder prints, with the package and the caller's path found.

    Importing takes a second: better several tasks in one script than several scripts.
    """
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
