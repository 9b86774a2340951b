"""Entry point `python -m kerf.runs`: the command `kerf` if its script is not on the path, as in a job elsewhere."""

from kerf.runs.cli import main

main(prog_name="kerf")
