"""Structures on rows: groups, visits, levels, variances by visit, lists."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import DesignError, UnidentifiedCovarianceError
from mixedext.specification.covariance import variance_functions as functions
from mixedext.specification.covariance.residual_binding import bind_residual


@pytest.fixture(scope="module")
def data():
    return mx.datasets.fev.load().data.dropna(subset=["FEV1"])


def test_what_is_bound(data):
    bound = bind_residual("us(AVISIT | USUBJID)", columns=data)
    assert str(bound) == "us(AVISIT | USUBJID)"
    assert (bound.group_name, bound.n_groups) == ("USUBJID", 197)
    assert bound.visit_name == "AVISIT"
    assert bound.visit_labels == ["VIS1", "VIS2", "VIS3", "VIS4"]
    codes = np.array(bound.group_labels)[bound.group_codes]
    assert codes.tolist() == data["USUBJID"].tolist()
    assert (
        np.array(bound.visit_labels)[bound.visit_codes].tolist() == data["AVISIT"].tolist()
    )
    assert (bound.n_levels, bound.level_labels, bound.functions) == (1, [], ())
    assert sum(b.count.sum() for b in bound.batches) == 197
    assert bound.n_obs == 537
    assert bound.names[:2] == ("UN(2,1)", "UN(2,2)")
    assert bound.n_parameters == 9


def test_variances_by_visit_and_level(data):
    het = bind_residual("ar1h(AVISIT | USUBJID)", columns=data)
    assert het.functions == (functions.VarIdent(4),)
    assert het.strata_labels == (["VIS1", "VIS2", "VIS3", "VIS4"],)
    by = bind_residual("us(AVISIT | USUBJID, by=ARMCD)", columns=data)
    assert by.functions == (functions.VarIdent(2),)
    assert (by.n_levels, by.level_labels) == (2, ["PBO", "TRT"])
    assert by.names[0] == "PBO: UN(2,1)"
    assert by.names[-1] == "sd(TRT) ratio"
    both = bind_residual("csh(AVISIT | USUBJID, by=ARMCD)", "exp(WEIGHT)", columns=data)
    assert both.functions == (functions.VarIdent(8), functions.VarExp())
    cells = data["ARMCD"].astype(str) + ":" + data["AVISIT"].astype(str)
    assert np.array(both.strata_labels[0])[both.row_strata[0]].tolist() == cells.tolist()
    assert both.function_texts == ("ident(ARMCD:AVISIT)", "exp(WEIGHT)")
    assert str(both) == "csh(AVISIT | USUBJID, by=ARMCD), variance exp(WEIGHT)"


def test_a_cell_of_no_rows_has_no_variance(data):
    cut = data[(data["ARMCD"] != "TRT") | (data["AVISIT"] != "VIS4")]
    bound = bind_residual("ar1h(AVISIT | USUBJID, by=ARMCD)", columns=cut)
    assert "TRT:VIS4" not in bound.strata_labels[0]
    assert bound.functions == (functions.VarIdent(7),)


def test_one_level_of_by_is_none(data):
    cut = data[data["ARMCD"] == "TRT"]
    bound = bind_residual("ar1(AVISIT | USUBJID, by=ARMCD)", columns=cut)
    assert (bound.n_levels, bound.functions) == (1, ())


def test_arrays_as_columns(data):
    named = bind_residual("us(AVISIT | USUBJID, by=ARMCD)", columns=data)
    columns = [data[c] for c in ("AVISIT", "USUBJID", "ARMCD")]
    for visit, subject, arm in (columns, [np.asarray(c) for c in columns]):
        given = mx.Unstructured(visit, group=subject, by=arm)
        bound = bind_residual(given)
        assert bound.names == named.names
        for one, other in zip(bound.batches, named.batches, strict=True):
            assert sorted(map(tuple, one.rows)) == sorted(map(tuple, other.rows))


def test_nested_groups(data):
    frame = pd.DataFrame({"arm": list("aabb"), "subject": [1, 1, 1, 1], "v": [1, 2, 1, 2]})
    for text in ("ar1(v | arm/subject)", "ar1(v | arm:subject)"):
        bound = bind_residual(text, columns=frame)
        assert bound.n_groups == 2
    assert bound.group_name == "arm:subject"
    assert bound.group_labels == ["a:1", "b:1"]
    for group in ("arm/subject", ("arm", "subject"), ["arm", "subject"]):
        assert bind_residual(mx.AR1("v", group), columns=frame).n_groups == 2
    odd = frame.rename(columns={"subject": "arm/subject"})
    bound = bind_residual(mx.CS(1, "arm/subject"), columns=odd.assign(v=range(4)))
    assert (bound.group_name, bound.n_groups) == ("arm/subject", 1)


def test_one_series():
    frame = pd.DataFrame({"t": [3, 1, 2]})
    bound = bind_residual("ar1(t)", columns=frame)
    assert bound.batches[0].rows.tolist() == [[1, 2, 0]]
    assert bound.group_labels == ["all rows"]


def test_gaps_of_visits():
    frame = pd.DataFrame({"g": [0, 0, 0, 1, 1], "v": [1, 2, 4, 2, 4]})
    bound = bind_residual("ar1(v | g)", columns=frame)
    assert bound.visit_labels == [1, 2, 3, 4]
    assert bound.visit_codes.tolist() == [0, 1, 3, 1, 3]


def test_lists_take_the_first_that_the_data_allow(data):
    never = data[
        ~(
            (data["AVISIT"] == "VIS2")
            & data["USUBJID"].isin(data.loc[data["AVISIT"] == "VIS3", "USUBJID"])
        )
    ]
    given = ["us(AVISIT | USUBJID)", "toeph(AVISIT | USUBJID)", "cs(1 | USUBJID)", "none"]
    bound = bind_residual(given, columns=never)
    assert str(bound.spec) == "toeph(AVISIT | USUBJID)"
    ((text, reason),) = bound.passed_over
    assert text == given[0]
    assert "'VIS2' and 'VIS3' are never seen together" in reason
    assert [str(f.spec) for f in bound.fallbacks] == ["cs(1 | USUBJID)", "independent"]
    last = bound.fallbacks[-1]
    assert (last.correlation, last.functions, last.names) == (None, (), ())
    assert last.batches[0].count.tolist() == [len(never)]
    whole = bind_residual(given, columns=data)
    assert (str(whole.spec), whole.passed_over) == (given[0], ())
    with pytest.raises(UnidentifiedCovarianceError, match=r"^us\(AVISIT"):
        bind_residual(given[:1], columns=never)


def test_lists_stop_at_rows_that_are_wrong(data):
    with pytest.raises(DesignError, match="twice"):
        bind_residual(["us(SEX | USUBJID)", "cs(1 | USUBJID)"], columns=data)


def test_pickles(data):
    bound = bind_residual(mx.AR1("AVISIT", "USUBJID", rho=0.5), columns=data)
    again = pickle.loads(pickle.dumps(bound))
    assert (str(again), again.start, again.names) == (str(bound), bound.start, bound.names)


# ---- the matrix of all rows, from batches and row by row ----


def whole_matrix(bound, psi_of):
    """Lambda, (n, n), as batches have it; psi_of gives parameters of a part by number."""
    out = np.zeros((bound.n_obs, bound.n_obs))
    for batch in bound.batches:
        log_sd = np.zeros(batch.strata[0].shape if batch.strata else batch.place.shape[:2])
        for k, function in enumerate(bound.functions):
            psi = psi_of(function.n_psi, 10 + k)
            log_sd = log_sd + function.log_sd(psi, batch.strata[k], batch.covariates[k])
        sd = np.exp(log_sd)
        matrix = np.ones((len(batch.count), 1, 1))
        if bound.correlation is not None:
            by_level = [
                bound.correlation.matrix(psi_of(bound.correlation.n_psi, k), batch.place)
                for k in range(bound.n_levels)
            ]
            matrix = np.stack(by_level)[batch.level, np.arange(len(batch.level))]
        matrix = matrix * sd[:, :, None] * sd[:, None, :]
        for rows, pattern in zip(batch.rows, batch.pattern, strict=True):
            out[np.ix_(rows, rows)] = matrix[pattern]
    return out


def row_by_row(bound, place, apart, psi_of):
    """The same, each two rows of a group by themselves."""
    n = bound.n_obs
    sd = np.ones(n)
    for k, function in enumerate(bound.functions):
        strata = bound.row_strata[k]
        strata = np.zeros(n, np.intp) if strata is None else strata
        psi = psi_of(function.n_psi, 10 + k)
        sd *= np.exp(function.log_sd(psi, strata, bound.row_covariates[k]))
    out = np.diag(sd**2)
    level = np.zeros(n, np.intp)
    for batch in bound.batches:
        level[batch.rows] = batch.level[batch.pattern][:, None]
    for a in range(n):
        for b in range(n):
            if a == b or bound.group_codes[a] != bound.group_codes[b]:
                continue
            if bound.correlation.over_visits:
                two = np.array([[place[a], place[b]]])
            else:
                d = np.linalg.norm(place[a] - place[b], apart)
                two = np.array([[[0.0, d], [d, 0.0]]])
            psi = psi_of(bound.correlation.n_psi, level[a])
            out[a, b] = sd[a] * sd[b] * bound.correlation.matrix(psi, two)[0, 0, 1]
    return out


def psi_of(n, number):
    return 0.5 * np.random.default_rng(number).normal(size=n)


CASES = {
    "ar1(v | g)": (["v"], None),
    "ar1h(v | g, by=arm)": (["v"], "exp(x | arm)"),
    "cs(1 | g)": (["v"], "ident(kind)"),
    "csh(v | g)": (["v"], None),
    "toep(v | g, by=arm)": (["v"], "power(x)"),
    "adh(v | g)": (["v"], None),
    "arma(v | g, p=1, q=1)": (["v"], "fixed(x) * ident(kind)"),
    "car1(x | g)": (["x"], "ident(kind)"),
    "sp_gau(x, z | g, by=arm)": (["x", "z"], None),
    "sp_exp(x, z | g, nugget=True, metric=manhattan)": (["x", "z"], None),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("residual", CASES)
def test_batches_hold_the_matrix_of_all_rows(residual, seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.repeat(range(14), 4), "v": np.tile(range(4), 14)})
    frame["arm"] = np.where(frame["g"] < 7, "a", "b")
    frame["x"] = frame["v"] + 1.0 + rng.integers(0, 3, 56) * 0.25
    frame["z"], frame["kind"] = rng.random(56), rng.integers(0, 2, 56)
    frame = frame[(rng.random(56) < 0.75) | (frame["g"] % 7 == 0)]
    frame = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    places, variance = CASES[residual]
    bound = bind_residual(residual, variance, columns=frame)
    found = whole_matrix(bound, psi_of)
    place = frame[places].to_numpy(float)
    place = place[:, 0].astype(int) if places == ["v"] else place
    apart = 1 if "manhattan" in residual else 2
    expected = row_by_row(bound, place, apart, psi_of)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    # rows in another order, other labels
    order = rng.permutation(len(frame))
    other = frame.iloc[order].assign(g=lambda d: "s" + d["g"].astype(str))
    again = whole_matrix(bind_residual(residual, variance, columns=other), psi_of)
    np.testing.assert_allclose(again, found[np.ix_(order, order)], rtol=1e-12, atol=1e-14)
