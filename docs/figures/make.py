"""Figures of the documentation, made anew: `make docs-figures`. What a page quotes is looked for in what this writes.

Takes some minutes. Each study's table is kept as it was printed, with the digest of the records that it was read from.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from kerf.lab.statistics.decision_rates import rates_table
from kerf.runs.records.store import Store

HERE = Path(__file__).parent
STUDIES = {"turner-quick": ("turner", "--preset", "quick")}
STUDIES_OF_RATES = 2000


def digest(out: Path) -> str:
    """SHA-256 over the digests of all units of a study: what its table was read from."""
    store = Store(out)
    return hashlib.sha256("\n".join(store.digest(unit) for unit in store.units()).encode()).hexdigest()


def main() -> None:
    """Run every study, and write its table and digest; then simulate the verdicts."""
    digests = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in STUDIES.items():
            out = Path(folder) / name
            command = [sys.executable, "-m", "kerf.runs", "run", *words, "--no-mlflow", "--out", str(out)]
            subprocess.run(command, check=True)
            (HERE / f"{name}.txt").write_text((out / "table.txt").read_text())
            digests[name] = {"command": f"kerf run {' '.join(words)}", "records": digest(out)}
    (HERE / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")
    (HERE / "decision-rates.md").write_text(rates_table(STUDIES_OF_RATES) + "\n")


if __name__ == "__main__":
    main()
