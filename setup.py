"""Build of the Cython kernels; all metadata stand in pyproject.toml.

A compiled kernel is kept in build/kernels under a hash of all it was made from, and
compiled again when that changes.  Dates would not do: pip builds in an environment made for
the occasion, in which every header is newer than any kernel.

Memoryviews need 25,000 lines of C.  Cython writes them once, into the module SHARED, rather
than into each kernel, which saves two thirds of the compiler's time.
"""

import hashlib
import os
import shutil
import sys
import sysconfig
import threading
from pathlib import Path

import Cython
import numpy as np
from Cython.Build import cythonize
from Cython.Build.Dependencies import create_dependency_tree
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("mixedext/kernels")
SHARED = "mixedext.kernels._cython"
KEPT = Path("build/kernels")
# -fno-math-errno lets the compiler inline sqrt, -fno-trapping-math choose between computed
# values without a branch; they change no result.  Nothing that ties a wheel to the CPU it
# was built on (no -march=native).  -g0: Python's own flags ask for debug information, nine
# tenths of a kernel's size.
GCC_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-g0"]
FLAGS = ["/O2"] if sys.platform == "win32" else GCC_FLAGS
LINK = []
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
# Kernels that watch themselves, for tests/watched_kernels.py: every index of a memoryview
# is checked, or the compiler's sanitizers see every access and every undefined operation.
match os.environ.get("MIXEDEXT_BUILD", ""):
    case "boundscheck":
        DIRECTIVES |= {"boundscheck": True, "initializedcheck": True}
    case "sanitize":
        SANITIZERS = "-fsanitize=address,undefined"
        FLAGS = ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-math-errno", SANITIZERS]
        LINK = [SANITIZERS]
    case "":
        pass
    case other:
        sys.exit(f"MIXEDEXT_BUILD is 'boundscheck' or 'sanitize', not {other!r}")


class BuildKernels(build_ext):
    """Compile the kernels that changed; leave all beside their sources, too.

    ``python -m mixedext`` and ``python -m pytest``, run in a clone, import the clone.
    """

    cython = threading.Lock()  # Cython is not made for threads; compilers run beside it

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or True  # compilers on all processors
        self.force = True  # the hash decides, not setuptools' comparison of dates

    def run(self):
        super().run()
        if not self.inplace:
            self.copy_extensions_to_source()

    def build_extension(self, ext):
        target = Path(self.get_ext_fullpath(ext.name))
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        kept = KEPT / f"{ext.name}.{self.fingerprint(ext)}{suffix}"
        if kept.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(kept, target)
            return
        self.translate(ext)
        super().build_extension(ext)
        KEPT.mkdir(parents=True, exist_ok=True)
        for outdated in KEPT.glob(f"{ext.name}.*{suffix}"):
            outdated.unlink()
        unfinished = kept.with_suffix(".part")
        shutil.copy2(target, unfinished)
        unfinished.replace(kept)

    def fingerprint(self, ext):
        """Hash of all that a compiled kernel depends on."""
        files = {__file__}  # flags and directives
        if ext.name != SHARED:
            with self.cython:
                tree = create_dependency_tree(quiet=True)
                files |= tree.all_dependencies(ext.sources[0])
        commands = [
            getattr(self.compiler, f"{name}_so", None) for name in ("compiler", "linker")
        ]
        versions = [Cython.__version__, np.__version__, self.plat_name, self.debug]
        choices = [FLAGS, LINK, sorted(DIRECTIVES.items())]
        made_from = hashlib.sha256(repr(commands + versions + choices).encode())
        for content in sorted(Path(file).read_bytes() for file in files):
            made_from.update(content)
        return made_from.hexdigest()[:16]

    def translate(self, ext):
        """Replace the Cython source of a kernel by one in C."""
        with self.cython:
            (in_c,) = cythonize(
                [ext],
                build_dir=self.build_temp,
                compiler_directives=DIRECTIVES,
                shared_utility_qualified_name=SHARED,
                force=True,
                quiet=not self.verbose,
            )
        ext.sources = in_c.sources


def kernel(name, source):
    return Extension(
        name,
        [source],
        include_dirs=[np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=FLAGS,
        extra_link_args=LINK,
    )


if __name__ == "__main__":
    setup(
        cmdclass={"build_ext": BuildKernels},
        ext_modules=[
            kernel(SHARED, SHARED.replace(".", "/") + ".c"),
            *(
                kernel(".".join(path.with_suffix("").parts), path.as_posix())
                for path in sorted(SOURCES.rglob("*.pyx"))
            ),
        ],
    )
