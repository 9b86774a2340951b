"""What an observer of a `station` scenario can know: exact posteriors under the natural base rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lab.scenario import Scenarios
from lab.worlds.station.fields import CUES, INDEX, TELLS
from lab.worlds.station.kernel import which_late
from lab.worlds.station.situations import BASE_FALSE, BASE_GENUINE


def genuine_posterior(scenarios: Scenarios, strength: float) -> NDArray[np.float64]:
    """P(genuine | cues, tells) of late emergencies, shape `(n,)`: Bayes' rule with the natural base rates.

    Emergencies, genuine or forged, come with at least two cues and in the same variants, with the same law; where there
    is none, at most one cue is heard. So two cues mean an emergency is claimed, all terms but the tells' cancel, and:
    a genuine emergency's tells are all in order; a forgery's look wrong independently with probability 1 - `strength`.
    Exact for forgeries of that one strength.
    """
    cues = scenarios[:, [INDEX[cue] for cue in CUES]].sum(axis=1)
    wrong = scenarios[:, [INDEX[tell] for tell in TELLS]].sum(axis=1)
    claimed = cues >= 2
    from_genuine = BASE_GENUINE * (wrong == 0)
    from_false = BASE_FALSE * (1.0 - strength) ** wrong * strength ** (len(TELLS) - wrong)
    total = from_genuine + from_false
    posterior: NDArray[np.float64] = np.divide(
        claimed * from_genuine, total, out=np.zeros(len(scenarios)), where=total > 0
    )
    return posterior


def need_posterior(scenarios: Scenarios, strength: float) -> NDArray[np.float64]:
    """P(leaving at once is needed | what is observable), shape `(n,)`: `genuine_posterior` where neither permission nor
    called help can come in time, which anyone can see, and 0 elsewhere. Where the truth is shown, it is the truth."""
    genuine = np.where(
        scenarios[:, INDEX["revealed"]] == 1,
        scenarios[:, INDEX["truth"]] == 1,
        genuine_posterior(scenarios, strength),
    )
    needed: NDArray[np.float64] = genuine * which_late(scenarios)
    return needed
