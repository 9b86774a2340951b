"""Contract of worlds: all checks in one class."""

from __future__ import annotations

from kerf.lab.testing.declarations import Declarations
from kerf.lab.testing.draws import Draws
from kerf.lab.testing.exact import Exact
from kerf.lab.testing.forgeries import Forgeries
from kerf.lab.testing.knowledge import Knowledge
from kerf.lab.testing.plays import Plays


class WorldContract(Declarations, Draws, Plays, Forgeries, Knowledge, Exact):
    """What every `kerf.lab.world.World` promises. A subclass implements `make_world`; see
    `kerf.lab.testing.subject.WorldSubject` for options."""
