"""RLlib module around the agent's network."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule

from kerf.agents.architectures import make_network
from kerf.agents.settings import NetworkSettings

STATE_VALUE = "state_value"


class KerfModule(TorchRLModule, ValueFunctionAPI):
    """The agent's network as RLlib sees it; with a memory it takes whole episodes `(T, n, D)`.

    `model_config` holds `network` (the dump of `NetworkSettings`) and `weights_seed` (int). The critic is not listed as
    unneeded for inference: env runners compute state values, and RLlib would leave a listed critic stale.
    """

    def setup(self) -> None:
        self.network = make_network(
            int(self.observation_space.shape[0]),
            int(self.action_space.n),
            NetworkSettings(**self.model_config["network"]),
            torch.Generator().manual_seed(self.model_config["weights_seed"]),
        )

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, torch.Tensor]:
        logits, state_values = self.network(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: logits, STATE_VALUE: state_values}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        return self.network.state_values(batch[Columns.OBS])
