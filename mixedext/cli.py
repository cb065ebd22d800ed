"""Command line: fit one model to a file or a bundled data set and print the summary."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from mixedext import datasets
from mixedext.api import mixedlm
from mixedext.inference.fixed_effects.df_methods import DF_METHODS, INFORMATION

__all__ = ["main"]

READERS = {
    ".csv": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".parquet": pd.read_parquet,
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process if None.

    Returns
    -------
    int
        0 after a converged fit, 1 if the fit did not converge, 2 for bad input.
    """
    options = _parser().parse_args(argv)
    try:
        data = _read(options.data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = mixedlm(
                options.formula,
                data,
                weights=options.weights,
                offset=options.offset,
                residual=options.residual,
                variance=options.variance,
                missing=options.missing,
                eval_env=-1,
            )
            result = model.fit(
                reml=not options.ml,
                df_method=options.df_method,
                information=options.information,
            )
        text = str(result.summary())
        if options.json is not None:
            _write_json(result, options)
    # Whatever is wrong with formula, data or design is the user's to know in one line.
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        line = " ".join(str(error).split())
        print(f"mixedext: {line}", file=sys.stderr)
        return 2
    for message in caught:
        print(f"mixedext: warning: {message.message}", file=sys.stderr)
    _print(text)
    return 0 if result.converged else 1


def _print(text):
    """Print to a reader who may have had enough, such as ``head``."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # what is left in the buffer would be written at exit, and fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m mixedext",
        description="Fit a linear mixed model and print its summary.",
        epilog="Expressions in FORMULA are Python code, which runs with your rights: take "
        "no formula from people whom you would not let run programs.",
    )
    parser.add_argument(
        "formula",
        metavar="FORMULA",
        help='such as "y ~ x + (1 + x | g) + (1 | h)"; expressions in it run as Python',
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="a .csv, .tsv or .parquet file, or a bundled data set: "
        + ", ".join(datasets.available().index),
    )
    parser.add_argument("--ml", action="store_true", help="ML in place of REML")
    parser.add_argument(
        "--df-method",
        choices=list(DF_METHODS),
        help="degrees of freedom of tests on fixed effects; z for the normal law "
        "(default: satterthwaite; residual without random terms and --residual)",
    )
    parser.add_argument(
        "--information",
        choices=INFORMATION,
        help="which information Kenward-Roger inverts: pbkrtest's, or SAS' (observed)",
    )
    parser.add_argument("--weights", metavar="COLUMN", help="precision weights")
    parser.add_argument(
        "--residual",
        metavar="TEXT",
        help='correlation of the residuals, such as "us(visit | subject)"',
    )
    parser.add_argument(
        "--variance",
        metavar="TEXT",
        help='standard deviations of the residuals, such as "ident(sex) * power(time)"',
    )
    parser.add_argument("--offset", metavar="COLUMN", help="known part of the mean")
    parser.add_argument(
        "--missing",
        default="raise",
        choices=["raise", "drop"],
        help="rows with missing values: an error, or left out",
    )
    parser.add_argument("--json", metavar="OUT", help="also write the results there")
    return parser


def _read(name):
    if name in datasets.available().index:
        return datasets.load(name).data
    path = Path(name)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"--data {name!r} is neither a bundled data set nor a file that ends in "
            f"{', '.join(READERS)}; bundled are: {', '.join(datasets.available().index)}"
        )
    if not path.exists():
        raise ValueError(f"--data {name!r}: there is no such file")
    return reader(path)


def _write_json(result, options):
    names = result.model.exog_names
    table = result.var_corr.to_dict(orient="records")
    content = {
        "formula": options.formula,
        "data": options.data,
        "method": result.method,
        "n_observations": result.nobs,
        "n_levels": result.n_levels.to_dict(),
        "log_likelihood": result.llf,
        "deviance": result.deviance,
        "aic": result.aic,
        "bic": result.bic,
        "sigma": result.sigma,
        "theta": dict(zip(result.theta_names, result.theta, strict=True)),
        "df_method": result.df_description(),
        "fixed_effects": {
            name: dict(
                zip(("estimate", "se", "df", "statistic", "pvalue"), row, strict=True)
            )
            for name, *row in zip(names, *result.fixed_effects_inference(), strict=True)
        },
        "var_corr": table,
        "is_singular": result.is_singular,
        "converged": result.converged,
        "convergence": str(result.convergence),
    }
    if result.model.residual is not None:
        found = result.residual
        rows = found.conf_int().to_dict(orient="index")
        content["residual"] = {"structure": found.structure, "parameters": rows}
    Path(options.json).write_text(json.dumps(_plain(content), indent=2) + "\n")


def _plain(value):
    """Python types that JSON knows; NaN becomes null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
