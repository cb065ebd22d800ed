"""Results whose data were removed and that were pickled predict as before."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import patsy
import pytest

import mixedext as mx
from mixedext.exceptions import FormulaError
from mixedext.specification.formula.portable_spec import portable_spec

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
]

FORMULAS = [
    "y ~ center(x) + (center(x) | g)",
    "y ~ bs(x, df=4) + C(h) + (scale(x) | g)",
    "y ~ poly(x, 2) + np.log(x) + (0 + half(x) | g)",
    "y ~ I(x - x.mean()) + (I(x - x.mean()) | g)",
    "y ~ C(h, Sum) + half(x) + (1 | g)",
    "y ~ center(x) * h + (h | g)",
]


def half(values):
    return values / 2


def some_data():
    rng = np.random.default_rng(0)
    g, x = rng.integers(0, 10, 120), rng.uniform(1, 3, 120)
    data = pd.DataFrame({"g": g, "x": x, "h": rng.choice(list("abc"), 120)})
    b = rng.normal(size=(10, 2))[g]
    return data.assign(y=x + b[:, 0] + b[:, 1] * x + rng.normal(size=120))


@pytest.mark.parametrize("formula", FORMULAS)
def test_predictions_are_the_same(formula):
    data = some_data()
    result = mx.mixedlm(formula, data).fit()
    new = data.head(5)
    want = result.get_prediction(new).summary_frame()
    result.remove_data()
    again = result
    for _ in range(2):  # what was pickled can be pickled again
        again = pickle.loads(pickle.dumps(again))
    got = again.get_prediction(new).summary_frame()
    pd.testing.assert_frame_equal(got, want, rtol=1e-12)
    with pytest.raises(FormulaError, match="no column x"):
        again.predict(new.drop(columns="x"))


def test_data_removed_after_the_first_pickle():
    data = some_data()
    result = mx.mixedlm(FORMULAS[1], data).fit()
    want = result.predict(data.head(5))
    result = pickle.loads(pickle.dumps(result))
    result.remove_data()
    result = pickle.loads(pickle.dumps(result))
    pd.testing.assert_series_equal(result.predict(data.head(5)), want)


@pytest.mark.slow
def test_in_another_process(tmp_path):
    """Names of modules and transforms of ours are found there."""
    data = some_data()
    result = mx.mixedlm("y ~ bs(x, df=4) + np.log(x) + (center(x) | g)", data).fit()
    want = result.predict(data.head(5))
    result.remove_data()
    result.save(str(tmp_path / "fit.pickle"))
    data.head(5).to_pickle(tmp_path / "new.pickle")
    program = (
        "import sys, pandas as pd, mixedext as mx\n"
        "result = mx.load(sys.argv[1] + '/fit.pickle')\n"
        "print(*result.predict(pd.read_pickle(sys.argv[1] + '/new.pickle')))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose([float(v) for v in done.stdout.split()], want, rtol=1e-12)


def test_what_cannot_be_pickled():
    class Odd:
        def memorize_chunk(self, x):
            self.hidden = lambda: None

        def memorize_finish(self):
            pass

        def transform(self, x):
            return x

    odd = patsy.stateful_transform(Odd)
    found = patsy.dmatrix("odd(x)", {"odd": odd, "x": np.arange(4.0)})
    assert portable_spec(found.design_info) is None
    assert portable_spec(None) is None
