"""`grader`: diamonds, a camera that sees them, and a grader whose error can be searched for."""

from kerf.lab.worlds.grader.world import Grader

__all__ = ["Grader"]
