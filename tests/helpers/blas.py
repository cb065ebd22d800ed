"""Which OpenBLAS kernels NumPy and SciPy run on: rounding differs from one to another."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

_NAMES = [
    f"{prefix}openblas_get_{{}}{suffix}"
    for prefix in ("scipy_", "")
    for suffix in ("", "64_")
]


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [
        line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def blas_cores() -> dict[str, str]:
    """Core type and version of each package's OpenBLAS; "unknown" of other libraries."""
    from numpy._core import _multiarray_umath
    from scipy.linalg import cython_blas

    modules = {"numpy": _multiarray_umath, "scipy": cython_blas}
    return {name: _core_of(module.__file__) for name, module in modules.items()}


def _core_of(path):
    try:
        # looking a name up in a handle looks in the libraries it depends on, too
        library = ctypes.CDLL(path)
    except OSError:
        return "unknown"
    for name in _NAMES:
        if hasattr(library, name.format("corename")):
            core, config = (_text(library, name.format(w)) for w in ("corename", "config"))
            version = next((w for w in config.split() if w[0].isdigit()), "")
            return f"{core} {version}".strip()
    return "unknown"


def _text(library, name):
    function = getattr(library, name)
    function.argtypes, function.restype = (), ctypes.c_char_p
    return function().decode()
