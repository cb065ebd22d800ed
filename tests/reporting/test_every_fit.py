"""Every kind of fit is told of, or says in words what it lacks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from statsmodels.base import _penalties as penalties
from statsmodels.regression.mixed_linear_model import MixedLMParams

import mixedext as mx

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

FORMULA = "yield ~ nitro + (nitro | Block)"


def oats():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return data.assign(w=1.0 + data["nitro"])


def by_groups():
    return mx.mixedlm("yield ~ nitro", oats(), groups="Block", re_formula="~nitro")


def chunks():
    data = oats()
    parts = [data.iloc[:40], data.iloc[40:]]
    return mx.MixedLM.from_chunks("yield ~ nitro + (1 | Block)", lambda: iter(parts)).fit()


def held():
    free = MixedLMParams.from_components(fe_params=np.array([1, 0]), cov_re=np.eye(2))
    return by_groups().fit(free=free)


def saved():
    return pickle.loads(pickle.dumps(mx.mixedlm(FORMULA, oats()).fit()))


def removed():
    result = mx.mixedlm(FORMULA, oats()).fit()
    result.remove_data()
    return result


def arrays():
    data = oats()
    exog = np.column_stack([np.ones(72), data["nitro"]])
    groups = data["Block"].to_numpy()
    return mx.MixedLM(data["yield"].to_numpy(), exog, groups=groups).fit()


def with_missing():
    data = oats()
    data.loc[3, "yield"] = np.nan
    return mx.mixedlm(FORMULA, data, missing="drop").fit()


FITS = {
    "bars": lambda: mx.mixedlm(FORMULA, oats()).fit(),
    "ML": lambda: mx.mixedlm(FORMULA, oats()).fit(reml=False),
    "groups": lambda: by_groups().fit(),
    "chunks": chunks,
    "held": held,
    "L1": lambda: by_groups().fit_regularized(alpha=1.0),
    "penalty": lambda: by_groups().fit(fe_pen=penalties.L2()),
    "robust": lambda: mx.mixedlm(FORMULA, oats()).fit(
        cov_type="CR2", cov_kwds={"groups": oats()["Block"]}
    ),
    "observed": lambda: mx.mixedlm(FORMULA, oats()).fit(cov_type="oim"),
    "failed": lambda: mx.mixedlm(FORMULA, oats()).fit(maxiter=1),
    "saved": saved,
    "removed": removed,
    "arrays": arrays,
    "missing": with_missing,
    "many effects": lambda: mx.mixedlm(
        "yield ~ nitro + (nitro * Variety | Block)", oats()
    ).fit(),
}
NO_ROWS = {"chunks", "removed"}
# Of which pages are made, which takes seconds.
PAGES = {"chunks", "held", "failed", "removed", "many effects"}
OF_ROWS = {"augment", "R", "V", "L"}


@pytest.fixture(scope="module", params=FITS)
def fit(request):
    return request.param, FITS[request.param]()


@pytest.mark.parametrize(
    "name", ["tidy", "glance", "augment", "equation", "report", "G", "R", "V", "L"]
)
def test_results_tell(fit, name):
    kind, result = fit
    if kind in NO_ROWS and name in OF_ROWS:
        with pytest.raises(ValueError, match=r"rows of this model|removed"):
            getattr(result, name)()
        return
    found = getattr(result, name)()
    text = repr(found)
    assert " object at 0x" not in text
    assert repr(pickle.loads(pickle.dumps(found))) == text


def test_tables_and_pages(fit, tmp_path):
    kind, result = fit
    assert "Fixed effects" in repr(mx.summary_table([result]))
    name = result.model.exog_names[-1]
    assert f"\n| {name} " in result.summary().as_markdown()
    if kind not in PAGES:
        return
    result.report(tmp_path / "fit.html")
    assert (tmp_path / "fit.html").read_text(encoding="utf-8").endswith("</html>\n")


def test_numbers(fit):
    """Estimates of all forms are those of the results."""
    _, result = fit
    table = result.tidy()
    estimates = table["estimate"].to_numpy()
    fixed = np.asarray(result.fe_params)
    np.testing.assert_array_equal(estimates[: len(fixed)], fixed)
    own = result.var_corr["sd"].to_numpy()
    sds = table["term"].str.startswith(("sd ", "sigma"))
    np.testing.assert_allclose(table["estimate"][sds], own, rtol=1e-13)
    side = mx.summary_table(result).numbers["(1)"].dropna()
    np.testing.assert_array_equal(side["Fixed effects"], fixed)
    blocks = [b.covariance for b in result.fitted.random.blocks()]
    first = result.G().toarray()[: len(blocks[0]), : len(blocks[0])]
    np.testing.assert_allclose(first, blocks[0], rtol=1e-13)


def test_missing_rows_are_not_there():
    result = with_missing()
    assert result.augment().shape[0] == 71
    assert 3 not in result.augment().index
    assert 3 not in result.V().index
    assert "71 observations" in result.report().methods[0]


def test_what_was_held_is_told():
    result = held()
    table = result.augment()
    assert table["cooks_d"].isna().all()
    assert "held" in table.notes[0]
