"""What is a fault: exceptions that no one meant, warnings that leak, wrong numbers."""

from __future__ import annotations

import linecache
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx

__all__ = ["Fault", "Watch", "check_finite", "invariant", "signature", "unchanged"]

EXPECTED = (ValueError, TypeError, KeyError, NotImplementedError)
# Of these names, too: of packages that need not be there.
MEANT = {"PatsyError", "ConvergenceError", "ImportError", "MemoryError"}
OURS, FORMULAS = "/mixedext/", ("/patsy/", "/formulaic/")


class Fault(Exception):
    """Something that must not be."""


def signature(error: BaseException) -> str | None:
    """None for an exception that somebody has raised on purpose, else where it was."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if OURS in f.filename]
    last, place = frames[-1], own[-1] if own else frames[-1]
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    text = f"{type(error).__name__} at {place.filename.split(OURS)[-1]}:{place.lineno}"
    if last is not place:
        text += f" (in {'/'.join(last.filename.split('/')[-2:])}:{last.lineno})"
    if not isinstance(error, EXPECTED) and type(error).__name__ not in MEANT:
        return f"type: {text}"
    if isinstance(error, np.linalg.LinAlgError):
        return f"LinAlgError: {text}"
    # statements of several lines are known by those before
    deep = line + "".join(frame.line or "" for frame in frames[-3:])
    meant = any(p in last.filename for p in (OURS, "/statsmodels/", *FORMULAS))
    return None if meant and "raise" in deep else f"raw: {text}"


class Watch:
    """Warnings of a case: those meant for the user, and NumPy's that leak.

    A RuntimeWarning is a leak where the package itself computes; what formulas compute is
    the user's, though NumPy's file warns in both cases.
    """

    def __init__(self) -> None:
        self.meant: list[warnings.WarningMessage] = []
        self.leaks: set[str] = set()

    def note(
        self, message: Any, category: Any, filename: str, lineno: int, *_: Any
    ) -> None:
        if not issubclass(category, RuntimeWarning):
            self.meant.append(warnings.WarningMessage(message, category, filename, lineno))
            return
        frame: Any = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if any(part in name for part in FORMULAS) or name.startswith("<string"):
                return
            if OURS in name:
                where = f"{'/'.join(name.split('/')[-2:])}:{frame.f_lineno}"
                self.leaks.add(f"leak: {where}: {str(message)[:60]}")
                return
            frame = frame.f_back

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = self.note
            yield self


def unchanged(frame: pd.DataFrame, before: pd.DataFrame) -> bool:
    """Whether the user's frame is as it was."""
    if list(frame.columns) != list(before.columns):
        return False
    if [str(t) for t in frame.dtypes] != [str(t) for t in before.dtypes]:
        return False
    try:
        pd.testing.assert_frame_equal(before, frame, check_exact=True)
    except AssertionError:
        return False
    except TypeError:  # labels of several types are not compared
        return True
    return True


def check_finite(result: Any, watch: Watch) -> None:
    """Estimates are numbers, or a warning says why not; variances are positive.

    A variance that is held or undetermined is none of these faults.
    """
    model = result.model
    kept = [n not in model.dropped_columns for n in model.exog_names]
    se = np.asarray(result.bse_fe)[kept]
    values = {
        "fe_params": np.asarray(result.fe_params)[kept],
        "bse_fe": se,
        "llf": result.llf,
        "scale": result.scale,
        "theta": result.theta,
        "cov_re": result.cov_re,
        "vcomp": result.vcomp,
    }
    bad = [k for k, v in values.items() if not np.isfinite(np.asarray(v, float)).all()]
    if bad and not watch.meant:
        raise Fault(f"not finite without a warning: {', '.join(bad)}")
    if not bad and ((se <= 0).any() or result.scale <= 0):
        raise Fault("a standard error or the residual variance is zero")


def invariant(rng: Any, formula: str, frame: pd.DataFrame, result: Any, reml: bool) -> None:
    """A fit of the same data in other rows, labels or units has the same likelihood.

    What the scale of y changes beside the likelihood's constant is not asked of data at the
    edge of double precision, nor of formulas in which y stands elsewhere.
    """
    if not result.converged or result.convergence.status == "flat":
        return
    dof = result.nobs - reml * (len(result.fe_params) - len(result.model.dropped_columns))
    plain = formula.startswith("y ~") and "y" not in formula[3:] and "offset" not in formula
    data, expected = frame.copy(), result.llf
    match rng.choice(["rows", "labels", "unit"]):
        case "rows":
            data = frame.iloc[rng.permutation(len(frame))]
        case "labels":
            codes = pd.factorize(frame["g"])[0] if "g" in frame else np.array([-1])
            if "C(g" in formula or (codes < 0).any():
                return
            data["g"] = [f"L{9999 - c}" for c in codes]
        case "unit":
            if not plain or frame["y"].dtype != np.float64:
                return
            data["y"], expected = frame["y"] * 4.0, result.llf - dof * np.log(4.0)
    other = mx.mixedlm(formula, data).fit(reml=reml)
    if other.converged and abs(other.llf - expected) > 1e-5 * (1 + abs(expected)):
        verdicts = f"{result.convergence.status}/{other.convergence.status}"
        raise Fault(f"another order: llf {other.llf!r}, not {expected!r} ({verdicts})")
