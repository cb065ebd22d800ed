"""Profiled deviances and their derivatives, for one response and for many."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a checker cannot know what is compiled, and so the modules here

    def __getattr__(name: str) -> Any: ...
