"""A policy as an MLflow model: the source that MLflow stores with a model and runs to load it; no pickle.

Its input has a column for each of the world's observations, its output one for each action, with its probability. If
the policy has a memory, both have a column for each of its numbers besides: what is put in is 0 when an episode begins,
and then what came out at the step before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from scipy.special import softmax

from kerf.agents.export import load_policy, read_card
from kerf.lab.rollout import no_memory, recalled
from kerf.lab.worlds import get_world
from kerf.runs.tracking.models import memory_columns


class ServedPolicy(PythonModel):  # type: ignore[misc]  # MLflow has no types
    """Answers with the probabilities with which the policy acts."""

    def load_context(self, context: Any) -> None:
        """Load the weights from the artifact `policy`, a folder with the exported policy."""
        stem = Path(context.artifacts["policy"]) / "policy"
        self._world = get_world(read_card(stem)["world"])
        self._policy = load_policy(stem, self._world)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return the probability of each action, `(n, A)`, for `n` rows of observations, and the memory after them."""
        observations = model_input[list(self._world.observations)].to_numpy(np.float32)
        names = memory_columns(no_memory(self._policy, 0).shape[1])
        logits, memory = recalled(self._policy, observations, model_input[names].to_numpy(np.float32))
        probabilities = softmax(logits.astype(np.float64), axis=1)
        return pd.DataFrame(np.hstack((probabilities, memory)), columns=[*self._world.actions, *names])


set_model(ServedPolicy())
