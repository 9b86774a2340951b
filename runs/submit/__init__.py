"""Submission of a study to a machine that runs it: this one, a Ray cluster, Kubernetes, or Slurm.

`work` defines what to run, `job` records what was submitted, and each backend runs the former as the latter. Every
backend does exactly what `kerf run` does, so the records are the same wherever they are made.
"""
