"""Which kernels are compiled again, and when."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from helpers.paths import ROOT

pytest.importorskip("Cython")
pytest.importorskip("setuptools")
pytestmark = pytest.mark.slow

# setup.py as it stands, but nothing is compiled: the names of kernels are printed instead.
BUILD = """
import runpy
import sys
from pathlib import Path

import Cython.Build
from setuptools.command.build_ext import build_ext


def compile(self, ext):
    print(ext.name.removeprefix("mixedext.kernels."))
    target = Path(self.get_ext_fullpath(ext.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(ext.name)


build_ext.build_extension = compile
Cython.Build.cythonize = lambda extensions, **options: extensions
exec(sys.argv.pop())
sys.argv[:] = ["setup.py", "-q", "build_ext", "--parallel=1"]
runpy.run_path("setup.py", run_name="__main__")
"""
SOURCES = {
    "__init__.py": "",
    "kernels/__init__.py": "",
    "kernels/free.pyx": "x = 1\n",
    "kernels/near.pyx": "from mixedext.kernels.base cimport f\n",
    "kernels/far.pyx": "from mixedext.kernels.between cimport g\n",
    "kernels/between.pxd": "from mixedext.kernels.base cimport f\n",
    "kernels/base.pxd": "cdef inline int f() noexcept: return 1\n",
}
ALL = {"_cython", "free", "near", "far"}


class Clone:
    def __init__(self, folder):
        self.folder = folder

    def build(self, before="pass", **environment):
        """Names of the kernels that a build compiles."""
        run = subprocess.run(
            [sys.executable, "-c", BUILD, before],
            cwd=self.folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return set(run.stdout.split())

    def change(self, name):
        path = self.folder / name
        path.write_text(path.read_text() + "\n# changed\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small package, once built."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copy(ROOT / "setup.py", folder)
    for name, text in SOURCES.items():
        path = folder / "mixedext" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert Clone(folder).build() == ALL
    return folder


@pytest.fixture
def clone(built, tmp_path):
    shutil.copytree(built, tmp_path / "clone")
    return Clone(tmp_path / "clone")


def test_dates_do_not_matter(clone):
    for path in clone.folder.rglob("*.p*"):
        os.utime(path, (4e9, 4e9))
    assert clone.build() == set()


def test_kernels_are_put_where_they_are_wanted_without_compiling(clone):
    compiled = [
        path
        for path in sorted(clone.folder.rglob("*"))
        if path.stem.split(".")[0] in ALL and path.suffix != ".pyx"
    ]
    assert len(compiled) == 2 * len(ALL)  # in build/lib and beside the sources
    contents = [path.read_text() for path in compiled]
    for path in compiled:
        path.unlink()
    assert clone.build() == set()
    assert [path.read_text() for path in compiled] == contents


def test_sources_and_what_they_cimport(clone):
    clone.change("mixedext/kernels/free.pyx")
    assert clone.build() == {"free"}
    clone.change("mixedext/kernels/between.pxd")
    assert clone.build() == {"far"}
    clone.change("mixedext/kernels/base.pxd")
    assert clone.build() == {"near", "far"}
    assert clone.build() == set()


@pytest.mark.skipif(sys.platform == "win32", reason="CFLAGS are not Windows'")
def test_flags_of_the_environment(clone):
    assert clone.build(CFLAGS="-O1") == ALL
    assert clone.build(CFLAGS="-O1") == set()


@pytest.mark.parametrize("package", ["Cython", "numpy"])
def test_versions(clone, package):
    assert clone.build(f"import {package}; {package}.__version__ = '99.0'") == ALL


def test_flags_and_directives_of_setup(clone):
    clone.change("setup.py")
    assert clone.build() == ALL


@pytest.mark.skipif(sys.platform == "win32", reason="flags are not Windows'")
@pytest.mark.parametrize("watched", ["boundscheck", "sanitize"])
def test_kernels_that_watch_themselves(clone, watched):
    assert clone.build(MIXEDEXT_BUILD=watched) == ALL
    assert clone.build(MIXEDEXT_BUILD=watched) == set()
    assert clone.build() == ALL


def test_a_build_that_is_not_known(clone):
    with pytest.raises(
        AssertionError, match="MIXEDEXT_BUILD is 'boundscheck' or 'sanitize'"
    ):
        clone.build(MIXEDEXT_BUILD="fast")
