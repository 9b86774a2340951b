"""A real Slurm of one node, without munge and systemd, in a folder of its own: the daemons of the Debian packages."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")

CONFIGURATION = """
ClusterName=kerf
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MinJobAge=30
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=short Nodes=ALL Default=YES MaxTime=60 State=UP
"""


def why_not() -> str | None:
    """Why there can be no Slurm here; None if there can."""
    missing = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        return f"no Slurm here ({', '.join(missing)} not found): apt-get install slurm-wlm"
    return None if os.geteuid() == 0 else "slurmd starts jobs for others, so it must be root"


@contextmanager
def slurm(folder: Path, cpus: int) -> Iterator[Path]:
    """A Slurm that is up; yields its configuration file, for `SLURM_CONF`."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    values = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "cpus": cpus, "folder": folder}
    configuration.write_text(CONFIGURATION.format(ports=_free_ports(2), **values))
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    daemons = []
    try:
        for words in (["slurmctld", "-D", "-i"], ["slurmd", "-D"]):
            with (folder / f"{words[0]}.out").open("wb") as out:
                daemons.append(subprocess.Popen(words, env=environment, stdout=out, stderr=out))
        deadline = time.monotonic() + 30
        while not _idle(environment):
            logs = "".join(path.read_text() for path in folder.glob("slurm*.log"))
            assert time.monotonic() < deadline, f"Slurm did not come up: {logs}"
            time.sleep(0.3)
        yield configuration
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)


def _idle(environment: dict[str, str]) -> bool:
    said = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
    return said.stdout.strip() == "idle"


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
