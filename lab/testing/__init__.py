"""Conformance kit: checks that worlds and graders keep their contracts, for the test suites of plug-ins.

A test class that subclasses a contract and names its subject inherits the checks, methods whose names begin with
`test_`:

    class TestMyWorld(WorldContract):
        def make_world(self):
            return MyWorld()

pytest runs them, and so does `unittest` where the class is a `unittest.TestCase`, too; the kit itself needs neither. A
check fails with an `AssertionError`; checks of optional members that a world lacks are skipped, with the reason. The
contract of generators is in `kerf.generators.testing`.
"""

from kerf.lab.testing.grader import GraderContract
from kerf.lab.testing.uncompiled import UncompiledContract
from kerf.lab.testing.world import WorldContract

__all__ = ["GraderContract", "UncompiledContract", "WorldContract"]
