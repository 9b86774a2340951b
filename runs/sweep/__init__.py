"""Sweeps: one arm of a recipe at many settings, against its control, in one folder.

A sweep's folder is a store like a study's. `over` reads what is swept, `spec` (or `file`) what is asked for, `cells`
names the cells that a trial needs by what they are, `trials` keeps Optuna's study, `drive` does the work, `outcome`
reads it back, `findings` draws conclusions, `report` prints and records them, `figures` draws them.
"""

ARM = "penalised"
"""The arm that is swept unless another is named."""
