"""What other programs call it: what stands for it here is there."""

from __future__ import annotations

import re

import pytest

import mixedext as mx
from mixedext.compat import FormulaManager
from mixedext.other_names import (
    MODEL_ARGUMENTS,
    ON_MEANS,
    ON_RESULTS,
    OTHER_MODELS,
    R_FUNCTIONS,
    RESIDUAL_OBJECTS,
    no_model_attribute,
    no_public_name,
    no_result,
)
from mixedext.specification.covariance.residual_names import CORRELATIONS, VARIANCES

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def result():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()


@pytest.mark.parametrize("name", ON_RESULTS)
def test_results_have_what_is_named(name, result):
    assert not hasattr(result, name)
    for path in re.findall(r"(?:^|[ (])\.(\w+(?:\.\w+)?)", ON_RESULTS[name]):
        value = result
        for part in path.split("."):
            value = getattr(value, part)


@pytest.mark.parametrize("name", ON_MEANS)
def test_means_have_what_is_named(name, result):
    means = result.emmeans("~ 1")
    assert not hasattr(means, name)
    for own in re.findall(r"\.(\w+)", ON_MEANS[name]):
        assert hasattr(means, own)


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_the_package_has_what_is_named(name):
    assert name not in mx.__all__
    for own in re.findall(r"\bmx\.(\w+)", OTHER_MODELS[name]):
        assert own in mx.__all__


@pytest.mark.parametrize("name", RESIDUAL_OBJECTS)
def test_classes_of_nlme_have_their_objects(name):
    made = eval(f"mx.{RESIDUAL_OBJECTS[name]}", {"mx": mx})
    with pytest.raises(AttributeError) as caught:
        getattr(mx, name)
    assert str(caught.value).endswith(f": write mx.{RESIDUAL_OBJECTS[name]}")
    text = {**CORRELATIONS, **VARIANCES}[name].split(", ")[0]
    assert text.split("(")[0] == str(made).split("(")[0]


@pytest.mark.parametrize("name", MODEL_ARGUMENTS)
def test_models_refuse_other_arguments(name, result):
    with pytest.raises(ValueError, match=f"^argument {name} not permitted") as caught:
        mx.mixedlm("Reaction ~ Days", result.model.data.frame, **{name: None})
    assert str(caught.value).endswith(MODEL_ARGUMENTS[name])


def test_arguments_that_nobody_has_are_answered_with_those_that_there_are(result):
    with pytest.raises(ValueError, match=r"they are: formula, data, re_formula"):
        mx.mixedlm("Reaction ~ Days", result.model.data.frame, nonsense=1)
    with pytest.raises(ValueError, match=r"Did you mean 'weights'\?$"):
        mx.mixedlm("Reaction ~ Days", result.model.data.frame, weightss=1)


@pytest.mark.parametrize("name", R_FUNCTIONS)
def test_formulas_know_no_such_function(name, result):
    data = result.model.data.frame
    if name == "lag" and FormulaManager().engine == "formulaic":
        pytest.skip("formulaic has it")
    with pytest.raises(mx.FormulaError, match=re.escape(f"{name}(...) is R's, ")):
        mx.mixedlm(f"Reaction ~ {name}(Days) + (1 | Subject)", data)


def test_python_asks_for_names_of_its_own():
    for error in (
        no_result("it", "__copy__", ["__copied__"]),
        no_model_attribute("it", "__copy__", ["__copied__"], ["__copied__"]),
        no_public_name("__copy__", ["__copied__"], []),
    ):
        assert str(error).endswith("has no attribute '__copy__'")


def test_the_error_of_a_property_is_its_own(result):
    """A property that raises AttributeError is not said to be lacking."""

    class Broken(type(result._results)):
        @property
        def broken(self):
            raise AttributeError("the reason")

    with pytest.raises(AttributeError, match=r"^the reason$"):
        _ = Broken(result.fitted).broken

    class BrokenModel(mx.MixedLM):
        @property
        def broken(self):
            raise AttributeError("the reason")

    data = result.model.data.frame
    with pytest.raises(AttributeError, match=r"^the reason$"):
        _ = BrokenModel.from_formula("Reaction ~ Days + (1 | Subject)", data).broken
