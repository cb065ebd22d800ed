"""Covariance matrices and their derivatives by free parameters."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a checker cannot know what is compiled, and so the modules here

    def __getattr__(name: str) -> Any: ...
