"""Linear mixed models in lme4's notation with statsmodels' API and Cython kernels."""

from importlib import metadata as _metadata

from mixedext.api import *  # noqa: F403
from mixedext.api import __all__ as _public

try:
    __version__ = _metadata.version("mixedext")
except _metadata.PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__", *_public]
