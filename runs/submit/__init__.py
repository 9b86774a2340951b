"""Handing a study to a machine that runs it: this one, a Ray cluster, Kubernetes, or Slurm.

`work` says what is to be done, `job` remembers what was submitted, and each backend turns the one into the other. No
backend does anything that `kerf run` would not do: the records are the same wherever they are made.
"""
