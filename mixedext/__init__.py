"""Linear mixed models in lme4's notation with statsmodels' API and Cython kernels."""

from importlib import metadata as _metadata
from typing import TYPE_CHECKING as _TYPE_CHECKING

from mixedext.api import *  # noqa: F403
from mixedext.api import MixedLMResults as _Results
from mixedext.api import __all__ as _public
from mixedext.other_names import no_public_name as _no_public_name

try:
    __version__ = _metadata.version("mixedext")
except _metadata.PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__", *_public]


if not _TYPE_CHECKING:  # the annotations say what there is

    def __getattr__(name):
        raise _no_public_name(name, _public, dir(_Results))
