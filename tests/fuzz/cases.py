"""One case: data, a formula, a fit, and some of what can be asked of it."""

from __future__ import annotations

import copy
import io
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx

from .faults import Fault, Watch, check_finite, invariant, signature, unchanged
from .frames import Rng, make_formula, make_frame

__all__ = ["run_case"]

DF_METHODS = [None, "satterthwaite", "kenward-roger", "residual", "containment"]
WEIGHTS: dict[str, Callable[[Rng, np.ndarray], np.ndarray]] = {
    "ones": lambda rng, w: np.ones_like(w),
    "random": lambda rng, w: w,
    "zero": lambda rng, w: np.where(np.arange(len(w)) < len(w) // 2, 0.0, w),
    "negative": lambda rng, w: -w,
    "huge": lambda rng, w: w * 10.0 ** rng.choice([100, 300]),
    "span": lambda rng, w: 10.0 ** rng.uniform(-8, 8, len(w)),
    "nan": lambda rng, w: np.where(np.arange(len(w)) == 0, np.nan, w),
    "int": lambda rng, w: rng.integers(1, 4, len(w)),
}


def model_options(rng: Rng, frame: pd.DataFrame) -> dict[str, Any]:
    """Arguments of ``mixedlm`` beside formula and data."""
    n = len(frame)
    options: dict[str, Any] = {
        "missing": str(rng.choice(["none", "drop", "raise"], p=[0.5, 0.4, 0.1]))
    }
    if rng.random() < 0.12:
        kind = str(rng.choice(list(WEIGHTS)))
        options["weights"] = WEIGHTS[kind](rng, rng.uniform(0.5, 2, n))
    if rng.random() < 0.04:
        options["offset"] = rng.normal(size=n) * rng.choice([1, 1e12])
    if rng.random() < 0.06:
        options["groups"] = "g" if rng.random() < 0.8 else rng.integers(0, 3, n)
        if rng.random() < 0.5:
            options["re_formula"] = str(rng.choice(["~x", "1", "0", "~f", "x+"]))
        if rng.random() < 0.5:
            name = str(rng.choice(["0+C(h)", "0+x", "~C(h)", "h", "("]))
            options["vc_formula"] = {"v": name}
    if rng.random() < 0.05:
        choices = [np.arange(n) % 2 == 0, frame.index[:3], [], "x"]
        options["subset"] = choices[rng.integers(0, 4)]
    return options


def fit_options(rng: Rng) -> dict[str, Any]:
    """Arguments of ``fit``."""
    options: dict[str, Any] = {"reml": bool(rng.random() < 0.7)}
    if rng.random() < 0.1:
        options["df_method"] = str(rng.choice(DF_METHODS[1:4]))
    if rng.random() < 0.05:
        options["cov_type"] = str(rng.choice(["CR0", "CR1", "CR2", "oim", "cluster"]))
    if rng.random() < 0.03:
        options["maxiter"] = int(rng.choice([0, 1, 2]))
    if rng.random() < 0.02:
        options["do_cg"] = False
    return options


def arguments(rng: Rng, result: Any, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Of the methods that are called: keyword arguments, good and bad."""
    names = list(result.model.exog_names)
    first = str(rng.choice(names)) if names else "x"
    column = str(rng.choice([c for c in frame.columns if isinstance(c, str)]))
    method = {"df_method": DF_METHODS[rng.integers(0, len(DF_METHODS))]}
    groups = [t.group for t in result.model.terms] or ["g"]
    group = str(rng.choice(groups)) if rng.random() < 0.5 else None
    count = len(names)
    rows = [
        *(f"{first} = 0", np.eye(count)[:1], first, names),
        *(np.zeros((1, count)), np.ones(count)),
    ][rng.integers(0, 6)]
    some = frame.iloc[rng.integers(0, len(frame), 3)] if len(frame) else frame
    known = [c for c in "xzfgh" if list(frame.columns).count(c) == 1 and len(frame)]
    new = [
        *(None, some, frame.iloc[:0], frame.drop(columns=[column])),
        {c: frame[c].iloc[:1].tolist() for c in known},
    ][rng.integers(0, 5)]
    few = {"n": int(rng.choice([1, 3])), "rng": 1}
    conditional = {"conditional": bool(rng.random() < 0.4)}
    return {
        "anova": {"type": rng.choice(["I", "II", "III", "x"]), **method},
        "bootstrap_cases": {"n": 3, "rng": 1, "group": group},
        "bootstrap_parametric": few | conditional,
        "bootstrap_residual": {"n": 3, "rng": 1},
        "coef": {"group": group},
        "conf_int": {
            "alpha": float(rng.choice([0.05, 0.5, 1e-12, 0.0, 1.0])),
            "method": str(rng.choice(["wald", "wald", "profile"])),
            **method,
        },
        "conf_int_vcomp": {"method": str(rng.choice(["log", "satterthwaite", "x"]))},
        "cov_params": {},
        "drop1": {"test": str(rng.choice(["F", "Chisq", "lrt"])), **method},
        "emmeans": {
            "specs": column,
            "weights": str(rng.choice(["equal", "proportional", "cells"])),
            **method,
        },
        "emtrends": {"specs": "f", "var": "x", **method},
        "exact_rlrt": {"n": 50, "rng": 1, "term": group},
        "f_test": {"r_matrix": rows, **method},
        "t_test": {"r_matrix": rows, **method},
        "wald_test": {"r_matrix": rows, "scalar": True, **method},
        "wald_test_terms": method,
        "fixed_effects_inference": method,
        "get_robustcov_results": {
            "cov_type": str(rng.choice(["CR0", "CR1", "CR2", "CR3", "cluster", "oim", "x"]))
        },
        "icc": {"ci": [None, "bootstrap", "log"][rng.integers(0, 3)], "n": 5, "rng": 1},
        "joint_tests": method,
        "kenward_roger": {"r_matrix": rows},
        "predict": {"exog": new},
        "profile": {"level": 0.9},
        "profile_re": {
            "re_ix": int(rng.integers(0, 2)),
            "vtype": str(rng.choice(["re", "vc"])),
            "num_low": 2,
            "num_high": 2,
        },
        "r2_nakagawa": {},
        "ranef": {},
        "ranova": {"test": str(rng.choice(["lrt", "exact"])), "nsim": 50, "rng": 1},
        "simulate": few | conditional,
        "simulate_refits": few,
        "summary": method,
        "t_test_pairwise": {"term_name": str(rng.choice(["f", "C(f)", "h", first]))},
        "var_corr": {},
    }


PROPERTIES = ("r2_nakagawa", "var_corr")
COMPARED = (
    *("compare_kr_test", "compare_lr_test", "compare_satterthwaite_test"),
    "bootstrap_test",
)


def _pickled(result: Any, **_: Any) -> str:
    again = pickle.loads(pickle.dumps(result))
    if again.llf != result.llf and not np.isnan(result.llf):
        raise Fault("another llf after pickling")
    again.remove_data()
    return str(again.summary())


def _refits(result: Any, **_: Any) -> Any:
    y = np.asarray(result.model.endog, float)
    result.model.refit(y + 1e-3 * np.random.default_rng(0).normal(size=len(y)))
    return result.model.fit_many(np.column_stack([y, y[::-1], np.zeros_like(y)]))


def _likelihood(result: Any, **_: Any) -> Any:
    model, at = result.model, result.params_object
    return model.score(at), model.hessian(at), model.loglike(at)


def _saved(result: Any, **_: Any) -> None:
    result.save(io.BytesIO())


OTHERS: dict[str, Callable[..., Any]] = {
    "pickle": _pickled,
    "save": _saved,
    "copy": lambda result, **_: copy.deepcopy(result).summary(),
    "refits": _refits,
    "regularized": lambda result, **_: result.model.fit_regularized(alpha=0.1, maxit=5),
    "model_table": lambda result, **_: mx.model_table(result, result),
    "exact_lrt": lambda result, **_: mx.exact_lrt(result, nsim=50, rng=1),
    "likelihood": _likelihood,
    "lm_list": lambda result, frame, **_: mx.lm_list("y ~ x | g", frame),
    "anova_estimates": lambda formula, frame, **_: mx.anova_estimates(formula, frame),
    "arrays": lambda result, frame, **_: mx.MixedLM(
        result.model.endog, result.model.exog, frame.get("g")
    ).fit(),
}


def call(name: str, rng: Rng, result: Any, frame: pd.DataFrame, formula: str) -> None:
    """Call something, and what its answer has in common with others."""
    if name in OTHERS:
        OTHERS[name](result=result, frame=frame, formula=formula)
        return
    if name in COMPARED:
        small = mx.mixedlm("y ~ 1 + (1 | g)", frame).fit(reml=result.model.reml)
        more = {"n": 3, "rng": 1} if name == "bootstrap_test" else {}
        str(getattr(result, name)(small, **more))
        return
    found, given = getattr(result, name), arguments(rng, result, frame)[name]
    out = found(**given) if name not in PROPERTIES else found
    str(out)
    for way in ("summary", "to_frame", "conf_int"):
        if hasattr(out, way) and rng.random() < 0.5:
            str(getattr(out, way)())


def run_case(seed: int, number: int) -> tuple[str, list[dict[str, Any]]]:
    """What became of a case, and its faults."""
    rng = np.random.default_rng([seed, number])
    frame, notes = make_frame(rng)
    formula = make_formula(rng, notes)
    options, fitting = model_options(rng, frame), fit_options(rng)
    before, watch = frame.copy(deep=True), Watch()
    context = {"seed": seed, "case": number, "formula": formula, "notes": str(notes)}
    context |= {"options": str(options)[:300], "fit": str(fitting)}
    faults: list[dict[str, Any]] = []

    def tell(step: str, fault: str, detail: object = "") -> None:
        faults.append(context | {"step": step, "fault": fault, "detail": str(detail)[:400]})

    def attempt(step: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Fault as error:
            tell(step, "fault: " + re.sub(r"[-\d.e+]+", "#", str(error))[:80], error)
        except Exception as error:  # noqa: BLE001
            found = signature(error)
            if found:
                tell(step, found, f"{type(error).__name__}: {error}")
            refused.append(type(error).__name__)
        return None

    refused: list[str] = []
    with watch.watching():
        result = attempt(
            "fit", lambda: mx.mixedlm(formula, frame, **options).fit(**fitting)
        )
        if result is not None:
            _ask(attempt, rng, result, frame, formula, options, fitting, watch)
            if not unchanged(frame, before):
                tell("end", "fault: the user's frame was changed")
    for leak in sorted(watch.leaks):
        tell("warnings", leak)
    return ("fit" if result is not None else [*refused, "Fault"][0]), faults


def _ask(
    attempt: Callable[[str, Callable[[], Any]], Any],
    rng: Rng,
    result: Any,
    frame: pd.DataFrame,
    formula: str,
    options: Mapping[str, Any],
    fitting: Mapping[str, Any],
    watch: Watch,
) -> None:
    llf = result.llf
    attempt("finite", lambda: check_finite(result, watch))
    plain = set(options) == {"missing"} and options["missing"] == "none"
    if plain and rng.random() < 0.25:
        reml = fitting["reml"]
        attempt("invariant", lambda: invariant(rng, formula, frame, result, reml))
    every = [*arguments(rng, result, frame), *COMPARED, *OTHERS]
    # profiles take their time
    every = every if len(frame) <= 20 else [n for n in every if n != "profile"]
    for name in rng.choice(every, rng.integers(2, 6), replace=False).tolist():
        attempt(name, lambda name=name: call(name, rng, result, frame, formula))

    def same() -> None:
        if result.llf != llf and not np.isnan(llf):
            raise Fault("methods changed llf")

    attempt("end", same)
