"""Searches for the minimum of a deviance, without the GIL."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a checker cannot know what is compiled, and so the modules here

    def __getattr__(name: str) -> Any: ...
