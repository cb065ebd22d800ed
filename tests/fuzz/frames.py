"""Frames and formulas as no one would state them, and some as everyone does."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["make_formula", "make_frame"]

Rng = np.random.Generator

SIZES = {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 3, 8: 4, 10: 6, 12: 9, 16: 12, 20: 15}
SIZES |= {30: 20, 40: 20}
# Powers of ten of values, within the range in which there must be no fault and beyond.
POWERS = (100, 130, 150, 200, 300)


def pick(rng: Rng, weights: Mapping[Any, float]) -> Any:
    """One of the keys, with these weights."""
    p = np.array(list(weights.values()), float)
    return list(weights)[int(rng.choice(len(weights), p=p / p.sum()))]


def with_missing(values: Any, rng: Rng, missing: Any = pd.NA) -> Any:
    if len(values):
        values[int(rng.integers(len(values)))] = missing
    return values


def holes(v: np.ndarray, rng: Rng, value: float) -> np.ndarray:
    if len(v):
        v[rng.integers(0, len(v), 1 + len(v) // 6)] = value
    return v


def decimals(v: np.ndarray) -> np.ndarray:
    return np.array([decimal.Decimal(f"{a:.4f}") for a in v], object)


EDGES = [np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0, 1]
NUMBERS: dict[str, Callable[[Rng, np.ndarray], Any]] = {
    "integers": lambda rng, v: rng.integers(-3, 4, len(v)),
    "constant": lambda rng, v: np.full(len(v), 3.7),
    "zeros": lambda rng, v: np.zeros(len(v)),
    "binary": lambda rng, v: rng.integers(0, 2, len(v)).astype(float),
    "huge": lambda rng, v: v * 10.0 ** rng.choice(POWERS),
    "tiny": lambda rng, v: v * 10.0 ** -rng.choice(POWERS),
    "denormal": lambda rng, v: v * 1e-315,
    "mixed_scale": lambda rng, v: v * 10.0 ** rng.uniform(-300, 300, len(v)),
    "far": lambda rng, v: v + 10.0 ** rng.choice([6, 8, 10, 13, 15]),
    "bool": lambda rng, v: rng.integers(0, 2, len(v)).astype(bool),
    "Int64": lambda rng, v: pd.array(rng.integers(-5, 5, len(v)), dtype="Int64"),
    "Float64": lambda rng, v: with_missing(pd.array(v, dtype="Float64"), rng),
    "boolean_na": lambda rng, v: with_missing(pd.array(v > 0, dtype="boolean"), rng),
    "float32": lambda rng, v: v.astype(np.float32),
    "uint8": lambda rng, v: rng.integers(0, 256, len(v)).astype(np.uint8),
    "int64_edge": lambda rng, v: rng.choice(EDGES, len(v)),
    "nan": lambda rng, v: holes(v, rng, np.nan),
    "inf": lambda rng, v: holes(v, rng, np.inf),
    "object": lambda rng, v: with_missing(
        v.astype(object), rng, rng.choice(np.array(["a", None, b"x"], object))
    ),
    "complex": lambda rng, v: v + 1j,
    "text": lambda rng, v: np.array([f"{a:.3f}" for a in v], object),
    "datetime": lambda rng, v: (
        pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, len(v)), "D")
    ),
    "decimal": lambda rng, v: decimals(v),
}


def numbers(rng: Rng, n: int, hostile: bool) -> tuple[Any, str]:
    """A column of numbers, and its kind."""
    v = rng.normal(size=n)
    kind = str(rng.choice(["normal", *NUMBERS])) if hostile else "normal"
    return (v if kind == "normal" else NUMBERS[kind](rng, v)), kind


def of_list(codes: np.ndarray, values: Sequence[Any]) -> np.ndarray:
    out = np.empty(len(codes), object)
    for i, c in enumerate(codes):
        out[i] = values[c % len(values)]
    return out


def labels(codes: np.ndarray) -> list[str]:
    return [f"g{c}" for c in codes]


STRANGE = ["é", "e\u0301", "\u202e", "日本", "\x00", "a\nb"]
FACTORS: dict[str, Callable[[Rng, np.ndarray, int], Any]] = {
    "int": lambda rng, c, k: c,
    "str": lambda rng, c, k: np.array(labels(c), object),
    "cat": lambda rng, c, k: pd.Categorical(labels(c)),
    "one_level": lambda rng, c, k: np.zeros(len(c), int),
    "n_levels": lambda rng, c, k: np.arange(len(c)),
    "singletons": lambda rng, c, k: np.where(
        np.arange(len(c)) < len(c) // 2, np.arange(len(c)), -1
    ),
    "unused": lambda rng, c, k: pd.Categorical(
        labels(c), categories=labels(np.arange(k + 3))[::-1]
    ),
    "ordered": lambda rng, c, k: pd.Categorical.from_codes(c, list(range(k)), ordered=True),
    "nan": lambda rng, c, k: with_missing(c.astype(float), rng, np.nan),
    "mixed": lambda rng, c, k: of_list(c, [1, "1", 1.5, None]),
    "float": lambda rng, c, k: c + 0.1,
    "bool": lambda rng, c, k: c % 2 == 0,
    "datetime": lambda rng, c, k: (
        pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(c, "h")
    ),
    "tuple": lambda rng, c, k: of_list(c, [(i, "t") for i in range(k)]),
    "unicode": lambda rng, c, k: of_list(c, STRANGE),
    "Int64_na": lambda rng, c, k: with_missing(pd.array(c, dtype="Int64"), rng),
    "interval": lambda rng, c, k: pd.arrays.IntervalArray.from_arrays(c, c + 1),
    "period": lambda rng, c, k: pd.PeriodIndex.from_ordinals(c, freq="M"),
    "bytes": lambda rng, c, k: of_list(c, [bytes([65 + i]) for i in range(k)]),
    "empty_text": lambda rng, c, k: of_list(c, ["", " ", "NaN", "None", "nan"]),
    "string": lambda rng, c, k: pd.array(labels(c), dtype="string"),
    "huge_int": lambda rng, c, k: c.astype(np.uint64) * np.uint64(2**61),
    "colon": lambda rng, c, k: of_list(c, ["a:b", "a", "b", "a:", ":b", ":"]),
}


def factor(rng: Rng, n: int, hostile: bool, levels: int | None = None) -> tuple[Any, str]:
    """A column of labels, and its kind."""
    levels = levels or int(rng.integers(2, max(3, min(9, 1 + n // 3))))
    kind = str(rng.choice(list(FACTORS) if hostile else ["int", "str", "cat"]))
    return FACTORS[kind](rng, rng.integers(0, levels, n), levels), kind


RESPONSES = {
    "effects": 50,
    "as_it_is": 26,
    "perfect": 6,
    "constant_in_groups": 6,
    "near_perfect": 6,
    "linear_in_x": 6,
}


def response(rng: Rng, y: np.ndarray, style: str, codes: np.ndarray, x: Any) -> np.ndarray:
    """A response by groups."""
    u = rng.normal(size=codes.max(initial=0) + 1) * rng.choice([0, 0.3, 1, 3, 1e4])
    match style:
        case "effects":
            return y + u[codes]
        case "perfect":
            return 1 + u[codes]
        case "constant_in_groups":
            return np.round(u)[codes]
        case "near_perfect":
            return 1 + u[codes] + 1e-9 * y
        case "linear_in_x" if isinstance(x, np.ndarray) and x.dtype.kind == "f":
            return 2.0 * x + 1
    return y


INDEXES: dict[str, Callable[[Rng, int], Any]] = {
    "dup": lambda rng, n: rng.integers(0, 3, n),
    "multi": lambda rng, n: pd.MultiIndex.from_arrays(
        [rng.integers(0, 3, n), np.arange(n)], names=["g", "row"]
    ),
    "text": lambda rng, n: [f"r{i}" for i in range(n)][::-1],
    "float": lambda rng, n: np.linspace(0, 1, n),
    "nan": lambda rng, n: np.full(n, np.nan),
    "date": lambda rng, n: pd.date_range("2020", periods=n),
}
ODD_NAMES = [
    *("x y", "class", "1st", "Ünïcödé", "a.b", "x|y", "Intercept", "a:b", "np", "I", "C"),
    *("Q", "lambda", "x`", "(1)", "", " ", "__x__", "Residual", "Group", "log", "scale"),
    *("poly", "offset", "日", "x'", 'x"', "x\\", "a\nb", "self", "_"),
]


def make_frame(rng: Rng) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A frame with numbers y, x, z and factors f, g, h, and what is odd about it."""
    n = int(pick(rng, SIZES))
    rate = rng.choice([0, 0.05, 0.1, 0.3])
    notes: dict[str, Any] = {"n": n}
    columns: dict[str, Any] = {}
    for name in "xzy":
        columns[name], notes[name] = numbers(rng, n, rng.random() < rate)
    for name in "fgh":
        levels = 2 if name == "f" else None
        columns[name], notes[name] = factor(rng, n, rng.random() < rate, levels)
    y, style = columns["y"], str(pick(rng, RESPONSES))
    if isinstance(y, np.ndarray) and y.dtype == float and n:
        codes = pd.factorize(pd.Series(columns["g"]).astype(str))[0]
        columns["y"] = response(rng, y, style, codes, columns["x"])
        notes["y"] += f"/{style}"
    frame = pd.DataFrame({c: columns[c] for c in rng.permutation(list(columns))})
    if rng.random() < rate:
        notes["index"] = str(rng.choice(list(INDEXES)))
        frame.index = INDEXES[notes["index"]](rng, n)
    if rng.random() < 0.05:
        frame[["x", "z"]] = frame[["x", "x"]].to_numpy()
        notes["collinear"] = True
    if rng.random() < 0.05:
        frame = pd.concat([frame, frame[["x"]]], axis=1)
        notes["twice"] = True
    notes["names"] = {}
    if rng.random() < 0.12:
        old = rng.choice(list("xzfgh"), rng.integers(1, 3), replace=False)
        new = {str(o): str(rng.choice(ODD_NAMES)) for o in old}
        if len(set(new.values())) == len(new):
            notes["names"], frame = new, frame.rename(columns=new)
    return frame, notes


# ---- formulas ----

FIXED = {
    **{"{x}": 9, "1": 6, "{z}": 4, "{f}": 4, "C({f})": 3, "{x}*{f}": 3, "{x}:{z}": 2},
    **{"I({x}**2)": 1, "poly({x}, 2)": 1.5, "np.log(np.abs({x})+1)": 1, "{x}*{z}*{f}": 0.7},
    **{"C({h})": 1, "bs({x}, df=4)": 0.6, "scale({x})": 0.5, "{f}:{h}": 1, "-1": 0.5},
    **{"0": 1, "offset({z})": 1, "{x}**2": 0.3, "({x}+{z})**2": 0.4, "C({f}, Sum)": 0.4},
    **{"standardize({x})": 0.4, "np.nan*{x}": 0.15, "1e200*{x}": 0.15, "{x}/0": 0.15},
    "log({x})": 0.3,
}
LEFT = {
    **{"1": 12, "{x}": 5, "0+{x}": 2, "1+{x}+{z}": 1.5, "{f}": 2, "0+{f}": 1, "{x}-1": 1},
    **{"I({x}**2)": 0.5, "poly({x}, 2)": 0.5, "{x}:{f}": 0.5, "0": 0.2, "{x}*{f}": 0.5},
    **{"C({h})": 0.3, "0+C({h})": 0.3, "1+1": 0.2, "{y}": 0.1},
}
RIGHT = {
    **{"{g}": 14, "{h}": 6, "{g}:{h}": 2, "{g}/{h}": 2, "{g}*{h}": 1, "{f}": 1.5},
    **{"{g}+{h}": 0.5, "{x}>0": 0.5, "C({g})": 0.5, "{g}/{f}/{h}": 0.5, "{g}:{g}": 0.2},
    **{"np.ones(len({x}))": 0.2, "({g}:{h}):{f}": 0.3, "{y}": 0.2},
}
LEFT_OF_TILDE = {
    "y": 8,
    "np.log(np.abs(y)+1)": 1,
    "I(y*1e-200)": 1,
    "y+1": 1,
    "Q('y')": 1,
    "scale(y)": 1,
}
PIECES = [
    *("|", "||", "~", "(", ")", "+", "-", "*", "/", ":", "`", "'", '"', ".", "0", "1e400"),
    *("\x00", "é", "\n", "\\", "Q(", "[", "]", "{", "#", ",", "lambda: 0", "y", "g"),
    *("%in%", "^", "1/0", "None", " ", "@", "=", ""),
]


def quoted(name: str) -> str:
    if name.isidentifier() and name.isascii():
        return name
    return f"Q({name!r})" if "`" in name else f"`{name}`"


def make_formula(rng: Rng, notes: Mapping[str, Any]) -> str:
    """A formula in the frame's names; one in twelve has been typed badly."""
    names = {c: quoted(notes["names"].get(c, c)) for c in "xzfgh"} | {"y": "y"}
    parts = [pick(rng, FIXED) for _ in range(rng.integers(1, 4))]
    for _ in range(pick(rng, {0: 5, 1: 62, 2: 25, 3: 7, 6: 1})):
        bar = "||" if rng.random() < 0.2 else "|"
        parts.append(f"({pick(rng, LEFT)} {bar} {pick(rng, RIGHT)})")
    rng.shuffle(parts)
    text = " + ".join(parts).format(**names).replace("+ -1", "- 1")
    formula = f"{pick(rng, LEFT_OF_TILDE)} ~ {text}"
    return mistyped(rng, formula) if rng.random() < 0.08 else formula


def mistyped(rng: Rng, text: str) -> str:
    for _ in range(rng.integers(1, 4)):
        i = int(rng.integers(0, len(text) + 1))
        j = min(len(text), i + int(rng.integers(0, 4)))
        text = text[:i] + str(rng.choice(PIECES)) + text[j:]
    return text
