"""Peers of the training bench: how they are talked to, what happens when one fails, and the real ones."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from kerf.agents.config import KerfConfig
from kerf.lab.errors import KerfError
from kerf.runs.bench.peer_environment import peer_python
from kerf.runs.bench.peers import CARTPOLE, PADDED, Peer, PeerSizes, our_config, rejax_peer, sb3_peer
from kerf.runs.bench.timing import one_quiet_thread
from kerf.runs.execution.local_ray import local_ray

LINUX = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="peers are kept to their cores")

MODULE = '''
import os, threading, time

class Miner:
    """Counts its shifts; in the last it runs out of coal."""
    num_steps, packages = 7, ("numpy",)

    def __init__(self, sizes):
        self.sizes, self.shifts = sizes, 0

    def run(self):
        print("noise")
        self.shifts += 1
        if self.shifts > self.sizes.get("last", 10):
            raise RuntimeError("out of coal")
        time.sleep(self.sizes.get("nap", 0.0))

    def score(self):
        facts = {"shifts": self.shifts, "pid": os.getpid(), "cores": len(os.sched_getaffinity(0)),
                 "threads": int(os.environ["OMP_NUM_THREADS"])}
        return float(facts[self.sizes["tell"]])

build = Miner
'''

Dig = Callable[..., Peer]


@pytest.fixture
def dig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dig]:
    """Starts peers that run `MODULE` here, and ends them."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), *filter(None, [os.getenv("PYTHONPATH")]))))
    peers = []

    def start(
        tell: str = "shifts", cores: int = 1, patience: float = 60.0, module: str = "mine", **sizes: float
    ) -> Peer:
        told = json.dumps({"cores": cores, "tell": tell, **sizes})
        command = [sys.executable, "-P", "-m", "kerf.runs.bench.peer_side", module, told]
        peers.append(Peer("the miner", command, patience))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


# -- talking to a peer -------------------------------------------------------------------------------------------------


@LINUX
def test_a_peer_trains_when_it_is_told_to_and_says_how_long_it_took(dig: Dig) -> None:
    peer = dig(nap=0.1)
    assert peer.num_steps == 7
    assert peer.versions == {"numpy": version("numpy")}
    assert math.isnan(peer.score)
    for shift in (2, 3):  # the first was to warm up
        assert peer.run() >= 0.1
        assert peer.score == shift


@LINUX
def test_as_a_contender_it_is_measured_by_its_own_watch(dig: Dig) -> None:
    contender = dig(nap=0.1).contender()
    rate, shares = contender.measure()
    assert contender.label == "the miner"
    assert 0.0 < rate <= 7 / 0.1
    assert shares == {}


@LINUX
@pytest.mark.parametrize("cores", [1, 2])
def test_a_peer_keeps_to_its_cores(dig: Dig, cores: int) -> None:
    if len(os.sched_getaffinity(0)) < cores:
        pytest.skip("this machine has fewer")
    for tell in ("cores", "threads"):
        peer = dig(tell, cores)
        peer.run()
        assert peer.score == cores


@LINUX
def test_a_closed_peer_is_gone(dig: Dig) -> None:
    with dig("pid") as peer:
        peer.run()
        os.kill(int(peer.score), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(peer.score), 0)
    with pytest.raises(KerfError, match="the miner: the peer has ended"):
        peer.run()


# -- peers that fail ---------------------------------------------------------------------------------------------------


@LINUX
def test_a_peer_that_dies_is_a_sentence_with_its_last_words(dig: Dig) -> None:
    peer = dig(last=2)
    peer.run()
    with pytest.raises(KerfError, match=r"the miner: the peer ended with exit code 1; .*RuntimeError: out of coal"):
        peer.run()
    with pytest.raises(KerfError, match="the peer has ended"):
        peer.run()


@LINUX
def test_a_peer_that_dies_before_it_is_ready_is_a_sentence(dig: Dig) -> None:
    with pytest.raises(KerfError, match="out of coal"):
        dig(last=0)
    with pytest.raises(KerfError, match="No module named 'nowhere'"):
        dig(module="nowhere")


@LINUX
def test_a_peer_that_is_killed_is_a_sentence(dig: Dig) -> None:
    peer = dig("pid")
    peer.run()
    os.kill(int(peer.score), signal.SIGKILL)
    with pytest.raises(KerfError, match="ended with exit code -9; its last words: noise / noise"):
        peer.run()


@LINUX
def test_a_peer_that_falls_silent_is_ended(dig: Dig) -> None:
    with pytest.raises(KerfError, match=r"did not answer within 1\.5 s"):
        dig(nap=60.0, patience=1.5)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("hello", "expected a line of JSON, got b'hello"), ('{"ready": true}', "expected num_steps and versions, got")],
)
def test_a_peer_that_says_something_else_is_a_sentence(said: str, sentence: str) -> None:
    with pytest.raises(KerfError, match=sentence):
        Peer("the parrot", [sys.executable, "-c", f"print({said!r})"])


def test_a_peer_that_cannot_be_started_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(KerfError, match=r"the ghost: cannot start .*nowhere: No such file"):
        Peer("the ghost", [str(tmp_path / "nowhere")])


@LINUX
def test_sizes_that_a_peer_cannot_have_are_refused_before_it_starts(tmp_path: Path) -> None:
    python = tmp_path / "nowhere"
    with pytest.raises(KerfError, match="a divisor of a batch's 24576 steps, got 5000"):
        rejax_peer(python, CARTPOLE, sizes=PeerSizes(minibatch_size=5000))
    for cores in (0, 1 + len(os.sched_getaffinity(0))):
        with pytest.raises(KerfError, match=f"cores must be from 1 to .* got {cores}"):
            sb3_peer(python, 32, cores=cores)
    with pytest.raises(KerfError, match=r"num_envs: expected a divisor of num_scenarios=1024, got 33"):
        sb3_peer(python, 33)


# -- their environment -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_environment_is_made_once_and_shows_what_the_project_has(tmp_path: Path) -> None:
    said: list[str] = []
    ours = f"numpy=={version('numpy')}"

    def made(*requirements: str) -> Path:
        return peer_python(tmp_path, said.append, requirements, offline=True)

    with pytest.raises(KerfError, match=r"cannot install the peers into .*no-such-thing-as-this"):
        made(ours, "no-such-thing-as-this==1.0")
    assert len(said) == 1
    assert str(tmp_path) in said[0]
    python = made(ours)
    assert len(said) == 2, "what failed does not count as made"
    shown = subprocess.check_output(
        [python, "-I", "-c", "import sys, numpy, kerf.runs.bench; print(numpy.__version__, sys.prefix)"], text=True
    )
    assert shown.split() == [version("numpy"), str(tmp_path / "environment")]
    assert made(ours) == python
    assert len(said) == 2, "it is there already"


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment" / "thesis.tex").write_text("42")
    with pytest.raises(KerfError, match="is in the way"):
        peer_python(tmp_path, requirements=(), offline=True)
    assert (tmp_path / "environment" / "thesis.tex").read_text() == "42"


# -- the real ones -----------------------------------------------------------------------------------------------------


def test_our_own_side_trains_at_the_sizes_of_its_peers() -> None:
    config = our_config(PADDED)
    assert isinstance(config, KerfConfig)
    assert not config.network.shared_trunk
    told = PeerSizes().arguments(PADDED, cores=1)
    assert told["num_observations"] == 85
    assert told["num_envs"] * told["num_steps"] == 24_576
    settings = config.settings.model_dump()
    for name in ("minibatch_size", "num_epochs", "learning_rate", "gamma", "gae_lambda", "clip", "entropy_coeff"):
        assert told[name] == settings[name], name


@pytest.mark.slow
def test_our_path_learns_to_balance() -> None:
    """Each mean is over 1,024 episodes and has a standard error below 0.03: chance alone does not bridge the gap."""
    with one_quiet_thread(), local_ray(1):
        for world in (CARTPOLE, PADDED):
            algorithm = our_config(world).debugging(log_level="ERROR").build_algo()
            try:
                first, *_, last = (algorithm.train()["env_runners"]["return_utility"] for _ in range(10))
            finally:
                algorithm.stop()
            assert first < 23.5
            assert last > 23.8


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real environment, from what pip finds; taken away again, because it is large."""
    folder = tmp_path_factory.mktemp("peers")
    yield peer_python(folder)
    shutil.rmtree(folder)


@LINUX
@pytest.mark.slow
def test_the_real_peers_train(python: Path) -> None:
    """About a minute: installs them, with a quarter of a gigabyte to download if pip has kept nothing.

    Where there is no package index, `--deselect` it. The last one differs from the third in its environments alone and
    takes ten times as long, so that it plays an eighth and is not watched until it has learnt: only its first scores
    are compared.
    """
    one, eighth = PeerSizes(iterations=1), PeerSizes(iterations=1, num_scenarios=128, minibatch_size=1024)
    untrained: dict[int, float] = {}
    for rounds, num_steps, start in (
        (3, 24_576, lambda: rejax_peer(python, CARTPOLE, sizes=one)),
        (3, 24_576, lambda: rejax_peer(python, PADDED, sizes=one)),
        (9, 24_576, lambda: sb3_peer(python, 1024, sizes=one)),
        (0, 3_072, lambda: sb3_peer(python, 32, sizes=eighth, native=False)),
    ):
        with start() as peer:
            assert peer.num_steps == num_steps
            assert peer.run() > 0.0
            before = untrained[rounds] = peer.score
            for _ in range(rounds):
                peer.run()
            assert peer.score > before or not rounds, f"{peer.label} does not learn"
    assert untrained[0] == pytest.approx(untrained[9], abs=1.0), "the same world, hardly trained"
