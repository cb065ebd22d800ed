"""Which tests ask the formula engine, whose answers depend on statsmodels' setting."""

from __future__ import annotations

import sys
from contextlib import contextmanager

__all__ = ["FormulaUse"]

# The methods of FormulaManager that parse or evaluate; the others need what these return.
ASKING = ("get_matrices", "get_linear_constraints", "get_spec")


class Watched:
    """A method that tells when it is looked up.

    Not a wrapper: statsmodels counts the frames between the caller and the engine.
    """

    def __init__(self, function, note):
        self.function, self.note = function, note

    def __get__(self, instance, owner=None):
        self.note()
        return self.function.__get__(instance, owner)


class FormulaUse:
    """Notes whether the engine was asked since the last test began, and by which fixtures.

    Attributes
    ----------
    asked : bool
        By the test or the fixture at hand.
    fixtures : set
        Where defined, and the name, of fixtures that asked: they serve several tests, but
        are made in the first.
    """

    def __init__(self):
        self.asked, self.fixtures = False, set()

    def watch(self):
        """Begin, if any of the tests collected has imported mixedext."""
        if "mixedext.compat" not in sys.modules:
            return
        manager = sys.modules["mixedext.compat"].FormulaManager
        for name in ASKING:
            function = vars(manager)[name]
            if not isinstance(function, Watched):
                setattr(manager, name, Watched(function, self.note))

    def note(self):
        self.asked = True

    def forget(self):
        self.asked = False

    @contextmanager
    def of_fixture(self, definition):
        """Around the making of a fixture."""
        before, self.asked = self.asked, False
        try:
            yield
        finally:
            if self.asked:
                self.fixtures.add((definition.baseid, definition.argname))
            self.asked = self.asked or before

    def by(self, item) -> bool:
        """Whether a test, or a fixture that it uses, has asked."""
        return self.asked or any(
            name in item.fixturenames and item.nodeid.startswith(where)
            for where, name in self.fixtures
        )
