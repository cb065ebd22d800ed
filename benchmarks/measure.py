"""Seconds and peak memory of an action in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SLOW = 5.0  # seconds from which the first call is not taken for a warm-up


def seconds_of(action: Callable[[], object], repeat: int, budget: float, first=None):
    """Times of calls: at most ``repeat`` of them, or as many as fit in ``budget`` seconds.

    Parameters
    ----------
    action : callable
        What is timed.
    repeat : int
        Calls at most.
    budget : float
        No call starts after this many seconds.
    first : float, optional
        Seconds of a call before, kept if it was a slow one.
    """
    times = [first] if first is not None and first > SLOW else []
    spent = sum(times)
    while not times or (len(times) < repeat and spent < budget):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
        spent += times[-1]
    return times


def summarize(times) -> dict[str, float]:
    """Median, minimum and number of calls."""
    return {"seconds": float(np.median(times)), "best": min(times), "calls": len(times)}


class PeakMemory:
    """Peak resident memory in MB beyond what was resident before (Linux)."""

    def __enter__(self):
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        self._before = _status("VmRSS")
        return self

    def __exit__(self, *exception):
        self.megabytes = (_status("VmHWM") - self._before) / 1024


def _status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")
