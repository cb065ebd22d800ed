"""Measures mixedext beside other tools on the same models, one thread each.

python benchmarks/run.py                          all workloads, all tools found
python benchmarks/run.py --quick                  the same at a hundredth of the size
python benchmarks/run.py --only insteval --tools mixedext lme4
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from peers import TOOLS
from threads import ONE_THREAD
from worker import MARK
from workloads import WORKLOADS, save

OURS = "mixedext"
# Higher than this, relative to another tool's criterion, is a miss.
TOLERANCE = 1e-8
COLUMNS = (
    ("tool", 20),
    ("seconds", 12),
    ("best", 12),
    ("calls", 6),
    ("ratio", 9),
    ("evals", 7),
    ("MB", 8),
    ("criterion", 22),
    ("ours - it", 11),
)


def run_tool(tool, name, rows, folder, options, with_ml):
    """Figures of one tool, or a note why there are none."""
    workload = WORKLOADS[name]
    reason = tool.cannot(workload)
    if not options.quick:
        reason = reason or (workload.skip or {}).get(tool.name)
    if not reason and rows > tool.largest:
        reason = f"not run above {tool.largest:,} rows"
    if reason:
        return {"note": reason}
    if hasattr(tool, "command"):
        command = tool.command(workload, folder, options.repeat, options.budget)
    else:
        worker = Path(__file__).with_name("worker.py")
        what = [tool.name, name, folder, options.repeat, options.budget]
        command = [sys.executable, *map(str, (worker, *what, "ml" if with_ml else "reml"))]
    status, out, error = run_limited(command, options.timeout, options.memory)
    if status is None:
        return {"note": f"> {options.timeout:.0f} s"}
    if status:
        return {"note": f"failed: {reason_in(error) or f'status {status}'}"}
    return read_lines(out) if hasattr(tool, "command") else read_json(out)


def reason_in(error):
    """The line of an error output that says most: the last that names an error."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    telling = [line for line in lines if re.search("error|panicked|memory", line, re.I)]
    return (telling or lines or [""])[-1][:200]


def run_limited(command, timeout, gigabytes):
    """Status (None: out of time), output and errors of a command on one thread."""

    def limit():
        size = int(gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    environment = os.environ | ONE_THREAD
    child = subprocess.Popen(
        command,
        env=environment,
        preexec_fn=limit,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, error = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return None, "", ""
    return child.returncode, out, error


def read_json(out):
    """What worker.py printed."""
    (line,) = [line for line in out.splitlines() if line.startswith(MARK)]
    return json.loads(line.removeprefix(MARK))


def read_lines(out):
    """What lme4.R printed: names and numbers."""
    fields = {}
    for line in out.splitlines():
        name, *values = line.split()
        fields[name] = [float(v) for v in values]
    times = [t / fields.get("each", [1.0])[0] for t in fields.pop("times")]
    middle = sorted(times)
    median = (middle[(len(times) - 1) // 2] + middle[len(times) // 2]) / 2
    figures = {"seconds": median, "best": min(times), "calls": len(times)}
    figures |= {k: fields[k][0] for k in ("megabytes", "criterion", "evaluations")}
    return figures


def judge(figures, tool, ours):
    """Add to a tool's figures the ratio of times and our criterion minus its own."""
    if "seconds" not in figures or "seconds" not in ours:
        return
    figures["ratio"] = figures["seconds"] / ours["seconds"]
    criterion = figures.get("criterion")
    own = ours.get("criterion" if tool.reml else "criterion_ml")
    if criterion is None or own is None:
        return
    figures["ours_minus"] = own - criterion
    if tool.exact:
        figures["ours_higher"] = own > criterion + TOLERANCE * abs(criterion)


def line_of(tool, figures):
    """One line of the table."""
    if "seconds" not in figures:
        return f"{tool.name:<20}  {figures['note']}"
    evaluations = figures.get("evaluations")
    own = figures.get("ours_minus")
    cells = [
        tool.name,
        _seconds(figures["seconds"]),
        _seconds(figures["best"]),
        figures["calls"],
        f"{figures['ratio']:.3g}" if "ratio" in figures else "",
        "" if evaluations is None else round(evaluations),
        f"{figures['megabytes']:.0f}" if "megabytes" in figures else "",
        f"{figures['criterion']:.8f}" if figures.get("criterion") is not None else "",
        "" if own is None or tool.name == OURS else f"{own:.1e}",
    ]
    pairs = zip(COLUMNS, cells, strict=True)
    line = "".join(f"{c:<{w}}" if h == "tool" else f"{c!s:>{w}}" for (h, w), c in pairs)
    notes = [] if tool.reml else ["ML"]
    notes += [] if tool.exact or own is None else ["approximate"]
    notes += ["OURS IS HIGHER"] if figures.get("ours_higher") else []
    if "fit_only" in figures:
        notes.append(f"fit() of a built model {_seconds(figures['fit_only'])}")
    return f"{line}  {', '.join(notes)}"


def _seconds(value):
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} us"


def run_workload(name, tools, options, scratch):
    """Measure and print one workload; a dict of figures by tool."""
    workload = WORKLOADS[name]
    data = workload.make(0.01 if options.quick else 1.0)
    folder = scratch / name
    save(data, folder)
    rows = len(data)
    del data
    print(f"\n{name}: {workload.title}\n{workload.formula}   (n = {rows:,})", flush=True)
    print("".join(f"{h:<{w}}" if h == "tool" else f"{h:>{w}}" for h, w in COLUMNS))
    taking_part = [t for t in tools if workload.form in t.forms]
    with_ml = any(not t.reml and not t.cannot(workload) for t in taking_part)
    found = {}
    for tool in taking_part:
        figures = run_tool(tool, name, rows, folder, options, with_ml)
        judge(figures, tool, found.get(OURS, figures))
        found[tool.name] = figures
        print(line_of(tool, figures), flush=True)
    return {"title": workload.title, "formula": workload.formula, "n": rows, "tools": found}


def parse(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    add("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL")
    add("--quick", action="store_true", help="a hundredth of the size")
    add("--repeat", type=int, default=15, help="timed calls at most (15)")
    add("--budget", type=float, default=10.0, help="seconds of timed calls (10)")
    add("--timeout", type=float, default=600.0, help="seconds for a tool (600)")
    add("--memory", type=float, default=16.0, help="GB of address space for a tool (16)")
    add("--json", type=Path, help="file for all figures")
    return parser.parse_args(arguments)


def environment():
    """What the figures depend on."""
    versions = {"python": platform.python_version(), "machine": platform.processor()}
    for tool in TOOLS.values():
        name = getattr(tool, "module", None)
        try:
            versions |= {name: version(name)} if name else {}
        except PackageNotFoundError:
            continue
    return {"date": time.strftime("%Y-%m-%d"), "load": os.getloadavg()[0], **versions}


def main(arguments=None):
    """Measure what the command line asks for."""
    options = parse(arguments)
    # Ours first: the others are compared with it.
    names = sorted(options.tools, key=lambda name: name != OURS)
    tools = []
    for tool in map(TOOLS.get, names):
        reason = tool.missing()
        if reason:
            print(f"{tool.name} is left out: {reason}")
        else:
            tools.append(tool)
    report = {"environment": environment(), "workloads": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only:
            report["workloads"][name] = run_workload(name, tools, options, Path(scratch))
            if options.json:
                options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    worst = [
        f"{name} against {tool}"
        for name, found in report["workloads"].items()
        for tool, figures in found["tools"].items()
        if figures.get("ours_higher")
    ]
    print("\ncriterion: " + ("; ".join(worst) or "never above that of another exact tool"))


if __name__ == "__main__":
    main()
