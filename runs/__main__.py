"""`python -m kerf.runs`: the command `kerf` where its script is not on the path, as in a job on another machine."""

from kerf.runs.cli import main

main(prog_name="kerf")
