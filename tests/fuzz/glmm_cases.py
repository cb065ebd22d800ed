"""One case of a generalized model: a family, rows that may be bad, a fit, questions."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import mixedext as mx
from mixedext.engine.generalized.fit import fit_generalized
from mixedext.engine.generalized.outer import outer_psi

from .faults import Fault, Watch, signature, unchanged
from .frames import Rng

__all__ = ["run_glmm_case"]

FAMILIES = [
    *("binomial", "binomial", "binomial", "binomial(probit)", "binomial(cloglog)"),
    *("binomial(loglog)", "binomial(cauchy)", "poisson", "poisson", "poisson(sqrt)"),
    *("poisson(identity)", "gamma", "gamma(inverse)", "inverse gaussian"),
    *("negative binomial", "negative binomial", "nb1", "beta", "beta(probit)"),
    *("beta binomial", "gaussian(log)", "gaussian", "gamma(identity)"),
]
WRONG = ["binomal", "binomial(log)", "poisson(logit)", "tweedie", "", "gamma()", None, 3]
TERMS = [
    *("(1 | g)", "(1 | g)", "(1 | g) + (1 | h)", "(x | g)", "(1 | g) + (0 + x | g)"),
    *("(1 | row)", "(1 | g) + (1 | row)", "(1 | g / h)", "(x || g)", "(f | g)"),
    *("(1 | one)", "(1 | f)", "(c | g)", "(1 | g) + (1 | g2)", "(big | g)"),
    *("(1 | g) + (x | h)", "(1 | gna)", "(1 | empty)"),
]
FIXED = [
    *("1", "x", "x", "x + f", "f", "x * f", "big", "year", "x + x2", "0 + x", "c + x"),
    *("rare", "x + rare", "C(g)", "huge", "x + I(x ** 2) + I(x ** 3)", "xna", "xinf"),
    *("0", "const", "x + offset(x)", "tiny", "perfect"),
]


def make_rows(rng: Rng, family: str) -> pd.DataFrame:
    """Columns good and bad, and a response of the family from a mixed model."""
    n = int(
        rng.choice(
            [1, 2, 3, 5, 8, 20, 40, 80, 150],
            p=[0.02, 0.02, 0.03, 0.08, 0.1, 0.2, 0.25, 0.2, 0.1],
        )
    )
    levels = int(rng.choice([1, 2, 3, 6, 12, n]))
    g, h = rng.integers(0, levels, n), rng.integers(0, 4, n)
    x = rng.normal(size=n)
    f = rng.choice(list("abc"), n)
    frame = pd.DataFrame({"x": x, "g": g, "h": h, "f": f})
    frame["row"], frame["one"], frame["g2"] = np.arange(n), "a", g
    frame["big"], frame["year"] = 1e6 * (1 + 0.1 * x), 2000 + rng.integers(0, 10, n)
    frame["huge"], frame["tiny"] = 1e150 * x, 1e-12 * x
    frame["x2"], frame["c"], frame["const"] = x, 3.0, 1.0
    frame["rare"] = (rng.random(n) < 0.1).astype(float)
    frame["xna"] = np.where(rng.random(n) < 0.1, np.nan, x)
    frame["xinf"] = np.where(np.arange(n) == 0, np.inf, x)
    frame["gna"] = np.where(rng.random(n) < 0.1, None, g.astype(str))
    frame["empty"] = pd.Categorical(
        g.astype(str), categories=[str(i) for i in range(levels + 5)]
    )
    spread = rng.choice([0, 0, 0.5, 1.0, 4.0])
    eta = 0.5 * rng.normal() + 0.5 * x + spread * rng.normal(size=max(levels, 1))[g]
    mean, p = np.exp(np.clip(eta, -8, 6)), 1 / (1 + np.exp(-eta))
    frame["m"] = rng.integers(1, 9, n)
    y: Any
    if family.startswith("binomial"):
        y = rng.binomial(1, p)
    elif family.startswith("beta b"):
        y = rng.binomial(1, rng.beta(3 * p + 0.01, 3 * (1 - p) + 0.01))
    elif family.startswith("beta"):
        y = np.clip(rng.beta(4 * p + 0.01, 4 * (1 - p) + 0.01), 1e-6, 1 - 1e-6)
    elif family.startswith(("poisson", "neg", "nb")):
        y = rng.poisson(mean * rng.gamma(2, 0.5, n))
    else:
        y = rng.gamma(2, mean / 2) + 1e-9
    frame["y"] = np.asarray(y, float)
    frame["s"] = rng.binomial(frame["m"], p)
    frame["fail"] = frame["m"] - frame["s"]
    frame["share"] = frame["s"] / frame["m"]
    frame["perfect"] = frame["y"] > frame["y"].median()
    frame["perfect"] = frame["perfect"].astype(float)
    return frame


Change = Callable[[Rng, np.ndarray], Any]
RESPONSES: dict[str, Change] = {
    "constant": lambda rng, y: np.full_like(y, y[0]),
    "zero": lambda rng, y: np.zeros_like(y),
    "ones": lambda rng, y: np.ones_like(y),
    "one zero": lambda rng, y: np.where(np.arange(len(y)) == 0, 0.0, y),
    "one one": lambda rng, y: np.where(np.arange(len(y)) == 0, 1.0, y),
    "negative": lambda rng, y: np.where(np.arange(len(y)) == 0, -1.0, y),
    "nan": lambda rng, y: np.where(rng.random(len(y)) < 0.1, np.nan, y),
    "inf": lambda rng, y: np.where(np.arange(len(y)) == len(y) - 1, np.inf, y),
    "halves": lambda rng, y: y + 0.5,
    "nearly whole": lambda rng, y: y + 1e-10,
    "huge": lambda rng, y: y * 1e12,
    "tiny": lambda rng, y: y * 1e-12,
    "far": lambda rng, y: np.where(np.arange(len(y)) == 0, 1e8, y),
    "text": lambda rng, y: np.where(y > np.median(y), "yes", "no"),
    "three": lambda rng, y: pd.Categorical(rng.choice(list("abc"), len(y))),
    "two": lambda rng, y: pd.Categorical(np.where(y > np.median(y), "b", "a")),
    "unused": lambda rng, y: pd.Categorical(
        np.where(y > np.median(y), "b", "a"), categories=["a", "b", "c"]
    ),
    "bool": lambda rng, y: y > np.median(y),
    "complex": lambda rng, y: y + 1j,
    "object": lambda rng, y: y.astype(object),
    "Int64": lambda rng, y: pd.array(np.round(y).astype(int), dtype="Int64"),
    "by level": lambda rng, y: y,
}
LEFT = ["s / m", "cbind(s, fail)", "s + fail", "share", "cbind(s, m)", "s", "I(s > 2)"]
WEIGHTS: dict[str, Callable[[Rng, int], Any]] = {
    "twos": lambda rng, n: np.full(n, 2.0),
    "random": lambda rng, n: rng.uniform(0.5, 2, n),
    "zero": lambda rng, n: np.where(np.arange(n) == 0, 0.0, 1.0),
    "zeros": lambda rng, n: np.zeros(n),
    "negative": lambda rng, n: -np.ones(n),
    "nan": lambda rng, n: np.where(np.arange(n) == 0, np.nan, 1.0),
    "huge": lambda rng, n: np.full(n, 1e12),
    "whole": lambda rng, n: rng.integers(1, 4, n),
    "short": lambda rng, n: np.ones(max(n - 1, 0)),
    "name": lambda rng, n: "m",
    "no name": lambda rng, n: "nothing",
}


def make_options(rng: Rng, frame: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the model and of the fit."""
    n = len(frame)
    model: dict[str, Any] = {
        "missing": str(rng.choice(["drop", "none", "raise"], p=[0.6, 0.3, 0.1]))
    }
    for name, chance in (("weights", 0.12), ("freq_weights", 0.06)):
        if rng.random() < chance:
            model[name] = WEIGHTS[str(rng.choice(list(WEIGHTS)))](rng, n)
    if rng.random() < 0.08:
        size = rng.choice([1.0, 20.0, 1e3, 1e9, np.nan])
        model["offset"] = size * rng.normal(size=n)
    if rng.random() < 0.05:
        model["exposure"] = rng.uniform(0.5, 2, n) * rng.choice([1, 1, 0, -1])
    fit: dict[str, Any] = {"n_agq": int(rng.choice([1, 1, 1, 1, 1, 0, 5, 8, -1]))}
    if rng.random() < 0.15:
        fit["laplace"] = str(rng.choice(["expected", "observed", "x"], p=[0.7, 0.2, 0.1]))
    if rng.random() < 0.03:
        fit["cov_type"] = str(rng.choice(["conditional", "cluster", "x"]))
    return model, fit


def make_case(rng: Rng) -> tuple[str, Any, pd.DataFrame, dict, dict]:
    """Formula, family, data and arguments."""
    family: Any = str(rng.choice(FAMILIES))
    frame = make_rows(rng, family)
    left = "y"
    if rng.random() < 0.25:
        kind = str(rng.choice(list(RESPONSES)))
        with np.errstate(all="ignore"):
            frame["y"] = RESPONSES[kind](rng, frame["y"].to_numpy(float))
        if kind == "by level":
            frame["y"] = (frame["g"] % 2).astype(float)
    model, fit = make_options(rng, frame)
    if family.startswith(("binomial", "beta binomial")) and rng.random() < 0.4:
        left = str(rng.choice(LEFT))
        if left in ("s / m", "share") and rng.random() < 0.85:
            model["weights"] = "m"
    if rng.random() < 0.02:
        family = WRONG[rng.integers(0, len(WRONG))]
    formula = f"{left} ~ {rng.choice(FIXED)}"
    if rng.random() < 0.98:
        formula += f" + {rng.choice(TERMS)}"
    return formula, family, frame, model, fit


QUESTIONS: dict[str, Callable[..., Any]] = {
    "augment": lambda r: (r.augment(), r.residuals("pearson")),
    "cluster": lambda r: r.get_robustcov_results("cluster").bse,
    "coef": lambda r: [r.coef(t.group) for t in r.model.random_terms],
    "conf_int": lambda r: r.conf_int(),
    "cov_params": lambda r: r.cov_params(),
    "dispersion": lambda r: (r.dispersion, r.dispersion_se),
    "fe_covariance": lambda r: (r.bse, r.bse_fe, r.tvalues, r.pvalues),
    "fit_log": lambda r: r.fit_log,
    "predict": lambda r: (r.predict(), r.predict(which="linear", conditional=False)),
    "marginal": lambda r: r.predict(marginal=True),
    "pickle": lambda r: str(pickle.loads(pickle.dumps(r)).summary()),
    "ranef": lambda r: [r.ranef(t.group) for t in r.model.random_terms],
    "random_effects": lambda r: (r.random_effects, r.random_effects_cov),
    "resid": lambda r: (r.resid_response, r.resid_pearson, r.resid_deviance),
    "simulate": lambda r: r.simulate(2, rng=1),
    "tidy": lambda r: (str(r.tidy()), str(r.glance())),
    "update": lambda r: r.update(". ~ .").llf,
    "var_corr": lambda r: str(r.var_corr),
    "statistics": lambda r: (r.aic, r.bic, r.pearson_chi2, r.df_resid, r.scale),
    "vcomp": lambda r: (r.cov_re, r.vcomp, r.theta, r.icc),
}


def _check(result: Any, watch: Watch) -> None:
    """Finite numbers, or a reason."""
    status = result.convergence.status
    excused = status in ("failed", "separated", "flat")
    if not np.isfinite(result.llf) and status != "failed":
        raise Fault(f"llf {result.llf} with status {status}")
    if status == "failed" and not result.convergence.message:
        raise Fault("failed without a message")
    fe = np.asarray(result.fe_params, float)
    kept = result.fitted.fixed.kept
    if not np.isfinite(fe[list(kept)]).all() and status != "failed":
        raise Fault(f"coefficients not finite, status {status}")
    known = np.isfinite(np.asarray(result.bse_fe, float)[list(kept)]).all()
    said = bool(watch.meant)  # that there are none is said when they are asked for
    if not (known or excused or said):
        raise Fault(f"no standard errors and no reason, status {status}")
    if status in ("failed", "separated", "flat") and not said:
        raise Fault(f"status {status} without a warning")
    size = np.abs(result.model.exog[:, list(kept)]).max(axis=0, initial=0.0)
    if status == "interior" and np.abs(fe[list(kept)] * size).max(initial=0) > 1e12:
        raise Fault("huge coefficients without a reason")


def _other_starts(result: Any, rng: Rng) -> None:
    """No start leads to a likelihood above that of the fit."""
    engine = result.fitted.generalized.engine
    status = result.convergence.status
    doubtful = engine.approximate or result.convergence.others_may_exist
    if status in ("failed", "separated") or doubtful or len(engine.eta) > 100:
        return
    for size in (0.3, 2.0):
        objective = engine.objective
        structures = objective.parameters.structures
        theta = np.concatenate([s.scaled(s.start(None), size) for s in structures])
        inner = objective.split(engine.evaluation.psi)
        psi = np.concatenate([theta, 0.9 * inner[1], inner[2]])
        other = fit_generalized(
            engine.design,
            engine.rows,
            n_agq=engine.n_agq,
            laplace=engine.laplace,
            start=outer_psi(objective, psi),
        )
        gain = engine.deviance - other.deviance
        if gain > 2e-6 * (1 + 1e-6 * abs(engine.deviance)):
            raise Fault(
                f"another start is better by {gain:.3g}: {engine.convergence.status}, "
                f"theta {engine.theta} there {other.theta} {other.convergence.status}"
            )


def run_glmm_case(seed: int, number: int) -> tuple[str, list[dict[str, Any]]]:
    """What became of a case, and its faults."""
    rng = np.random.default_rng([seed, number, 16])
    formula, family, frame, options, fitting = make_case(rng)
    before, watch = frame.copy(deep=True), Watch()
    context = {"seed": seed, "case": number, "formula": formula, "family": family}
    context |= {"options": str(options)[:200], "fit": str(fitting), "rows": len(frame)}
    faults: list[dict[str, Any]] = []
    refused: list[str] = []

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

    with watch.watching():
        result = attempt(
            "fit", lambda: mx.glmm(formula, frame, family=family, **options).fit(**fitting)
        )
        if result is not None:
            attempt("check", lambda: _check(result, watch))
            attempt("summary", lambda: str(result.summary()))
            for name in rng.choice(list(QUESTIONS), 4, replace=False):
                attempt(str(name), lambda name=name: QUESTIONS[name](result))
            # told to be hardly told apart: a dispersion of zero is as good
            alike = any(
                issubclass(one.category, mx.UnidentifiedVarianceWarning)
                for one in watch.meant
            )
            if number % 2 == 0 and not alike:
                attempt("starts", lambda: _other_starts(result, rng))
        if not unchanged(frame, before):
            tell("end", "fault: the user's frame was changed")
    for leak in sorted(watch.leaks):
        tell("warnings", leak)
    return (
        result.convergence.status if result is not None else [*refused, "Fault"][0]
    ), faults
