"""Passes over rows and levels: codes, sums by level, moments."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a checker cannot know what is compiled, and so the modules here

    def __getattr__(name: str) -> Any: ...
