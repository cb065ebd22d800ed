"""Build of the Cython kernels; all metadata stand in pyproject.toml."""

import sys
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# -fno-math-errno lets the compiler inline sqrt; it changes no result.  Nothing that
# ties a wheel to the CPU it was built on (no -march=native).
FLAGS = ["/O2"] if sys.platform == "win32" else ["-O3", "-fno-math-errno"]


class BuildInPlaceToo(build_ext):
    """Also leave the compiled kernels beside their sources.

    ``python -m mixedext`` and ``python -m pytest``, run in a clone, import the clone.
    """

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or True  # compilers on all processors

    def run(self):
        super().run()
        if not self.inplace:
            self.copy_extensions_to_source()


kernels = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [path.as_posix()],
        include_dirs=[np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=FLAGS,
    )
    for path in sorted(Path("mixedext/kernels").rglob("*.pyx"))
]

setup(
    cmdclass={"build_ext": BuildInPlaceToo},
    ext_modules=cythonize(
        kernels,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    ),
)
