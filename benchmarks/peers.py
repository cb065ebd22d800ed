"""The tools that are compared: for each, how it is told a model and what it reports.

A tool makes, from a workload and its data, a function without arguments that fits the
model; only calls of that function are timed.  Where a workload's form is "arrays", tools
that take arrays get arrays and integer codes, made before.  All fits are the tool's default
by REML, except where a tool has maximum likelihood only.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np


def arrays_of(workload, data):
    """Response, fixed columns with an intercept, codes and random columns (None: ones)."""
    y = data[workload.response].to_numpy()
    x = np.ones((len(data), 1 + len(workload.fixed)))
    for j, name in enumerate(workload.fixed):
        x[:, j + 1] = data[name]
    (term,) = workload.terms
    z = None
    if term.columns != ("1",):
        z = np.ones((len(data), len(term.columns)))
        for j, name in enumerate(term.columns[1:]):
            z[:, j + 1] = data[name]
    return y, x, data[term.group].to_numpy(), z


def integers(column):
    """A categorical column's codes, any other column as it is; two levels make a 0/1."""
    return column.cat.codes if column.dtype == "category" else column


class Tool:
    """One tool; subclasses say how it fits.

    Attributes
    ----------
    name : str
        As on the command line and in the table.
    module : str
        What has to be importable.
    reml : bool
        False for a tool that has maximum likelihood only.
    exact : bool
        False if the criterion itself is approximate: it is shown but not judged.
    forms : tuple of str
        Workload forms the tool takes part in.
    largest : float
        Rows above which it is not run, for a tool that would take hours.
    """

    name: str
    module: str
    reml = True
    exact = True
    forms = ("frame", "arrays")
    largest = float("inf")

    def missing(self):
        """Why the tool cannot run at all, or None."""
        found = importlib.util.find_spec(self.module)
        return None if found else f"{self.module} is not installed"

    def cannot(self, workload):
        """Why the tool cannot fit this model, or None."""
        return None

    def prepare(self, workload, data):
        """A function that fits."""
        raise NotImplementedError

    def read(self, result):
        """Criterion (-2 log-likelihood with all constants) and evaluations of a fit."""
        raise NotImplementedError


def single_factor(workload):
    """Reason against, for tools with one grouping factor."""
    return None if len(workload.terms) == 1 else "one grouping factor only"


class Mixedext(Tool):
    name = module = "mixedext"
    forms = ("frame", "arrays", "formula", "refits")

    def prepare(self, workload, data):
        build = self.build(workload, data)
        return lambda: build().fit()

    def build(self, workload, data):
        """A function that makes the model."""
        import mixedext as mx

        if workload.form == "arrays":
            y, x, codes, z = arrays_of(workload, data)
            return lambda: mx.MixedLM(y, x, groups=codes, exog_re=z)
        return lambda: mx.mixedlm(workload.formula, data)

    def read(self, result):
        return result.deviance, len(result.fit_log)


class MixedLMRs(Tool):
    name, module = "mixedlm-rs", "mixedlm_rs"

    def cannot(self, workload):
        return single_factor(workload)

    def prepare(self, workload, data):
        import mixedlm_rs

        if workload.form == "arrays":
            y, x, codes, z = arrays_of(workload, data)
            return lambda: mixedlm_rs.MixedLM(y, x, codes, exog_re=z).fit()
        (term,) = workload.terms
        by = {"groups": term.group, "re_formula": f"~ {' + '.join(term.columns)}"}
        return lambda: mixedlm_rs.mixedlm(workload.fixed_formula, data, **by).fit()

    def read(self, result):
        return -2 * result.llf, result.diagnostics["n_objective_evaluations"]


class Glmm(Tool):
    name = module = "glmm"
    options: dict = {}  # noqa: RUF012

    def prepare(self, workload, data):
        import glmm

        if workload.form == "arrays":
            names = [workload.response, *workload.fixed, *workload.groups]
            data = {name: data[name].to_numpy() for name in names}
        return lambda: glmm.fit(data, workload.formula, **self.options)

    def read(self, result):
        return -2 * result.loglik, result.n_eval


class GlmmFitOnly(Glmm):
    """Without the degrees of freedom and Hessian that glmm adds to every fit."""

    name = "glmm-fit-only"
    options = {"satterthwaite": False, "wald_se": "rx"}  # noqa: RUF012


class LmePython(Tool):
    name, module = "lme-python", "lme_python"

    def prepare(self, workload, data):
        import lme_python

        return lambda: lme_python.lmer(workload.formula, data)

    def read(self, result):
        return result.reml_criterion, result.iterations


class GPBoost(Tool):
    """Maximum likelihood; several coefficients of one factor are always uncorrelated."""

    name, module = "gpboost", "gpboost"
    reml = False
    inversion = "cholesky"

    def cannot(self, workload):
        return "slopes are uncorrelated only" if workload.has_slopes else None

    def prepare(self, workload, data):
        import gpboost

        y = data[workload.response].to_numpy()
        x = np.ones((len(data), 1 + len(workload.fixed)))
        for j, name in enumerate(workload.fixed):
            x[:, j + 1] = integers(data[name])
        codes = np.column_stack([integers(data[g]) for g in workload.groups])

        def fit():
            model = gpboost.GPModel(
                group_data=codes,
                likelihood="gaussian",
                num_parallel_threads=1,
                matrix_inversion_method=self.inversion,
            )
            model.fit(y=y, X=x)
            return model

        return fit

    def read(self, result):
        return 2 * result.get_current_neg_log_likelihood(), result._get_num_optim_iter()


class GPBoostIterative(GPBoost):
    """Conjugate gradients and random traces, its default for several factors."""

    name = "gpboost-iterative"
    exact = False
    inversion = "iterative"

    def cannot(self, workload):
        if len(workload.terms) == 1:
            return "for several factors"
        return super().cannot(workload)


class Statsmodels(Tool):
    name = module = "statsmodels"
    largest = 50_000

    def cannot(self, workload):
        return single_factor(workload)

    def prepare(self, workload, data):
        import statsmodels.api as sm

        (term,) = workload.terms
        labels = data[term.group].astype(str)
        frame = data.assign(**{term.group: labels})
        by = {"groups": term.group, "re_formula": f"~ {' + '.join(term.columns)}"}
        return lambda: sm.MixedLM.from_formula(workload.fixed_formula, frame, **by).fit()

    def read(self, result):
        return -2 * result.llf, None


class ColumnSums(Tool):
    """No model: one NumPy pass that sums every column, the speed of memory."""

    name, module = "column-sums", "numpy"
    forms = ("arrays",)
    exact = False

    def prepare(self, workload, data):
        columns = [data[c].to_numpy() for c in data.columns]
        return lambda: [column.sum() for column in columns]

    def read(self, result):
        return None, None


class Formulaic(Tool):
    """Only the fixed-effects columns, without random terms."""

    name = module = "formulaic"
    forms = ("formula",)
    exact = False

    def prepare(self, workload, data):
        import formulaic

        return lambda: formulaic.model_matrix(workload.fixed_formula, data)

    def read(self, result):
        return None, None


class Patsy(Formulaic):
    name = module = "patsy"

    def prepare(self, workload, data):
        import patsy

        return lambda: patsy.dmatrices(workload.fixed_formula, data)


class Lme4(Tool):
    """Runs lme4.R in place of the worker."""

    name = "lme4"
    forms = ("frame", "arrays", "refits")

    def missing(self):
        if shutil.which("Rscript") is None:
            return "Rscript is not installed"
        check = ["Rscript", "-e", "library(lme4)"]
        found = subprocess.run(check, capture_output=True).returncode == 0
        return None if found else "the R package lme4 is not installed"

    def command(self, workload, folder: Path, repeat, budget):
        """Command line that measures."""
        script = Path(__file__).with_name("lme4.R")
        what = [",".join(workload.groups), repeat, budget, workload.form]
        return [str(a) for a in ("Rscript", script, folder, workload.formula, *what)]


TOOLS = {
    tool.name: tool
    for tool in (
        Mixedext(),
        Lme4(),
        Glmm(),
        GlmmFitOnly(),
        MixedLMRs(),
        LmePython(),
        GPBoost(),
        GPBoostIterative(),
        Statsmodels(),
        ColumnSums(),
        Formulaic(),
        Patsy(),
    )
}
