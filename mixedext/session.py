"""Options of a session: defaults of arguments, read when a model is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mixedext.arguments import did_you_mean
from mixedext.inference.fixed_effects.df_methods import df_method_name

__all__ = ["Options", "option_context", "options"]


class Options:
    """Defaults of arguments of ``fit``, for all fits that follow.

    Results keep what held when their model was fitted.  An argument that is given goes
    before an option.

    Attributes
    ----------
    df_method : str or None
        Degrees of freedom of tests of fixed effects, as for ``MixedLM.fit``; None for the
        default of each kind of model.

    Raises
    ------
    ValueError
        If a value is not known.
    AttributeError
        If there is no such option.

    Examples
    --------
    >>> import mixedext as mx
    >>> mx.options.df_method = "kr"
    >>> mx.options
    Options(df_method='kenward-roger')
    >>> mx.options.df_method = None
    """

    __slots__ = ("_df_method",)

    def __init__(self) -> None:
        self._df_method: str | None = None

    @property
    def df_method(self) -> str | None:
        """Degrees of freedom of tests of fixed effects; None for the model's default."""
        return self._df_method

    @df_method.setter
    def df_method(self, value: str | None) -> None:
        self._df_method = df_method_name(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in (*_NAMES, "_df_method"):
            raise _no_option(name)
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # the annotations say what there is

        def __getattr__(self, name: str) -> Any:
            raise _no_option(name)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _NAMES)
        return f"Options({shown})"


_NAMES = ("df_method",)
_LISTED = ", ".join(_NAMES)


def _no_option(name):
    meant = did_you_mean(name, _NAMES)
    return AttributeError(f"there is no option {name!r}; there are: {_LISTED}{meant}")


options = Options()


@contextmanager
def option_context(**values: Any) -> Iterator[Options]:
    """Options that hold within a ``with`` block, and are then as they were.

    Parameters
    ----------
    **values
        Options by name, such as ``df_method="kenward-roger"``.

    Yields
    ------
    Options
        The options as they hold there.

    Raises
    ------
    ValueError
        If an option or a value is not known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)
    >>> with mx.option_context(df_method="z"):
    ...     result = model.fit()
    >>> result.df_method, model.fit().df_method
    ('z', 'satterthwaite')
    """
    unknown = [name for name in values if name not in _NAMES]
    if unknown:
        raise ValueError(f"there is no option {unknown[0]!r}; there are: {_LISTED}")
    before = {name: getattr(options, name) for name in values}
    try:
        for name, value in values.items():
            setattr(options, name, value)
        yield options
    finally:
        for name, value in before.items():
            setattr(options, name, value)
