"""Options of a session."""

from __future__ import annotations

import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def model():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    mx.options.df_method = None


def test_options_are_read_at_the_fit_and_stored(model):
    before = model.fit()
    mx.options.df_method = "kr"
    assert mx.options.df_method == "kenward-roger"
    after = model.fit()
    assert (before.df_method, after.df_method) == ("satterthwaite", "kenward-roger")
    mx.options.df_method = None
    assert before.df_description() == "satterthwaite"
    assert after.df_description().startswith("kenward-roger")
    assert after.t_test("Days = 0").sd[0] == pytest.approx(after.bse_fe["Days"], rel=1e-12)


def test_arguments_go_before_options(model):
    with mx.option_context(df_method="z"):
        assert model.fit().df_method == "z"
        assert model.fit(df_method="residual").df_method == "residual"
        assert model.fit(use_t=True).df_method == "residual"
        assert model.fit(cov_type="CR2").df_description() == "bell-mccaffrey"
        assert model.fit().t_test("Days = 0", df_method="satt").df_denom == pytest.approx(
            17
        )


def test_an_option_serves_models_by_groups_too():
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days", data, groups="Subject")
    assert model.fit().df_method == "z"
    with mx.option_context(df_method="satterthwaite"):
        assert model.fit().df_method == "satterthwaite"


def test_what_kenward_roger_cannot_do_is_said(model):
    with mx.option_context(df_method="kenward-roger"):
        result = model.fit(reml=False)
        # an option is a wish, an argument an order
        with pytest.raises(ValueError, match="needs reml=True"):
            model.fit(reml=False, df_method="kenward-roger")
    assert result.df_method == "satterthwaite"
    assert "of REML fits" in str(result.anova())


def test_a_context_ends_as_it_began():
    mx.options.df_method = "residual"

    def fails():
        with mx.option_context(df_method="z") as options:
            assert options is mx.options
            assert repr(options) == "Options(df_method='z')"
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fails()
    assert mx.options.df_method == "residual"
    with mx.option_context():
        assert mx.options.df_method == "residual"


def test_unknown_options_and_values():
    with pytest.raises(AttributeError, match=r"no option 'df'; there are: df_method"):
        mx.options.df = "z"
    with pytest.raises(
        ValueError, match=r"df_method='exact' is not known.*'satterthwaite'"
    ):
        mx.options.df_method = "exact"
    with (
        pytest.raises(ValueError, match=r"no option 'df'; there are: df_method"),
        mx.option_context(df="z"),
    ):
        pass
    assert mx.options.df_method is None
