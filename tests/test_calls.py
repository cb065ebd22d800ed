"""Arguments that a function does not have: answered, and nothing else is changed."""

from __future__ import annotations

import inspect
import pickle

import pytest

import mixedext as mx
from mixedext.calls import answer_calls, answering
from mixedext.other_names import ARGUMENTS_OF, OTHER_ARGUMENTS

pytestmark = pytest.mark.formula_engine

CLASSES = [
    mx.Bootstrap,
    mx.LikelihoodProfile,
    mx.LmList,
    mx.MarginalMeans,
    mx.MixedGLMResults,
    mx.MixedLMResults,
    mx.MixedPrediction,
]


def draw(n, rng=None, *, level=0.95):
    """Draws."""
    return n, rng, level


def test_calls_go_through():
    answered = answering(draw)
    assert answered(1, 2, level=0.9) == draw(1, 2, level=0.9)
    assert answered(n=3) == (3, None, 0.95)
    assert inspect.signature(answered) == inspect.signature(draw)
    assert answered.__doc__ == draw.__doc__
    assert pickle.loads(pickle.dumps(mx.anova)) is mx.anova


@pytest.mark.parametrize(
    ("arguments", "named", "said"),
    [
        ((), {"seed": 1}, "draw has no argument 'seed': write rng="),
        ((), {"levels": 1}, "draw has no argument 'levels'. Did you mean 'level'?"),
        ((), {"colour": 1}, "'colour'; there are: n, rng, level"),
        ((1, 2, 3), {}, "draw takes 2 arguments by position, not 3"),
        ((), {"level": 0.9}, "draw needs n: draw(n=...)"),
    ],
)
def test_calls_that_are_wrong_are_answered(arguments, named, said):
    with pytest.raises(TypeError) as caught:
        answering(draw)(*arguments, **named)
    assert said in str(caught.value)


def test_methods_are_answered_without_their_object():
    @answer_calls
    class One:
        """Has a method."""

        def value(self):
            """One."""
            return 1

    assert One().value() == 1
    with pytest.raises(TypeError, match="value has no argument 'n'; there are: none"):
        One().value(n=1)
    with pytest.raises(TypeError, match="value takes no arguments by position, not 1"):
        One().value(1)


def test_what_stands_for_an_argument_is_an_argument():
    """Each name that is proposed is an argument of something."""
    methods = [m for c in CLASSES for _, m in inspect.getmembers(c, inspect.isfunction)]
    functions = [v for v in vars(mx).values() if inspect.isfunction(v)]
    there = {p for f in [*methods, *functions] for p in inspect.signature(f).parameters}
    assert {other for names in OTHER_ARGUMENTS.values() for other in names} <= there
    named = {name for c in CLASSES for name in dir(c)} | set(mx.__all__)
    assert set(ARGUMENTS_OF) <= named


def test_callers_names_are_found_through_an_answering_function():
    data = mx.datasets.sleepstudy.load().data
    shift = 2.0

    def fits():
        return mx.lm_list("Reaction ~ I(Days + shift) | Subject", data)

    assert shift == 2.0
    with pytest.raises(mx.FormulaError, match="shift is neither"):
        fits()

    def one_up():
        return mx.lm_list("Reaction ~ I(Days + shift) | Subject", data, eval_env=1)

    assert one_up().nobs.sum() == 180
    with pytest.raises(ValueError, match="eval_env=10000 is above the top of the stack"):
        mx.lm_list("Reaction ~ I(Days + shift) | Subject", data, eval_env=10_000)
