"""What fit() was given and does not have: refused, with what to write."""

from __future__ import annotations

import inspect

import pytest

import mixedext as mx
from mixedext.models.mixedlm.fit_arguments import OPTIMIZER_OPTIONS, OPTIMIZERS
from mixedext.other_names import FIT_ARGUMENTS

pytestmark = pytest.mark.formula_engine

BARS, GROUPS = "Reaction ~ Days + (1 | Subject)", "Reaction ~ Days"


@pytest.fixture(scope="module")
def models():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm(BARS, data), mx.mixedlm(GROUPS, data, groups="Subject")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"REML": False}, "'REML': write reml=False"),
        ({"REML": True}, "'REML': write reml=True"),
        ({"ml": True}, "'ml': write reml=False"),
        ({"ML": False}, "'ML': write reml=True"),
        ({"mle": "yes"}, "'mle': write reml=False"),
        ({"method": "ML"}, r"method='ML' .*criterion: write fit\(reml=False\)"),
        ({"method": "reml"}, r"method='reml' .*criterion: write fit\(reml=True\)"),
        ({"method": ["bfgs", "mle"]}, r"method='mle' .*write fit\(reml=False\)"),
        ({"method": "satterthwaite"}, "write df_method='satterthwaite'"),
        ({"method": "kr"}, "write df_method='kr'"),
        ({"method": "CR2"}, "write cov_type='CR2'"),
        ({"method": "bobyqa"}, "no optimizer of statsmodels.*leave it out"),
        ({"method": "lbfgss"}, "Did you mean 'lbfgs'"),
        ({"vcov": "CR2"}, "'vcov': write cov_type='CR2'"),
        ({"robust": True}, "'robust': write cov_type='CR2'"),
        ({"ddf": "kr"}, "'ddf': write df_method="),
        ({"weights": "w"}, r"argument of the model: mixedlm\(formula, data, weights="),
        ({"groups": "Subject"}, "argument of the model"),
        ({"control": {}}, "needs no settings"),
        ({"df_metod": "kr"}, "Did you mean 'df_method'"),
        ({"maxit": 5}, "Did you mean 'maxiter'"),
        ({"colour": 1}, "no argument 'colour'; there are: start_params, reml, .*maxiter"),
    ],
)
def test_what_fit_does_not_have(models, arguments, message):
    for model in models:
        with pytest.raises(ValueError, match=message):
            model.fit(**arguments)


def test_statsmodels_own_are_taken(models):
    want = models[0].fit().deviance
    for model in models:
        for method in OPTIMIZERS:
            assert model.fit(method=method).deviance == pytest.approx(want, rel=1e-12)
        options = dict.fromkeys(OPTIMIZER_OPTIONS - {"maxiter"}, 1e-7)
        assert model.fit(**options).deviance == pytest.approx(want, rel=1e-12)


def test_no_argument_of_fit_is_called_unknown():
    own = set(inspect.signature(mx.MixedLM.fit).parameters) | OPTIMIZER_OPTIONS
    assert not own & set(FIT_ARGUMENTS)


def test_other_fits_say_so_too(models):
    bars, _ = models
    data = mx.datasets.sleepstudy.load().data
    with pytest.raises(ValueError, match="write reml=False"):
        bars.fit_regularized(alpha=0.1, ML=True)
    with pytest.raises(ValueError, match="write cov_type="):
        bars.refit(data["Reaction"] + 1.0, vcov="CR2")
    with pytest.raises(ValueError, match=r"fit\(reml=False\)"):
        mx.mixedlm(BARS, data, REML=False)
