"""Sweeps: one arm of a recipe at many settings, against its control, in one folder.

A sweep's folder is a store like a study's. `over` parses the swept settings, `spec` (or `file`) the specification;
`cells` names the cells that a trial needs by their contents, `trials` keeps Optuna's study, `driver` runs the trials,
`outcome` reads them back, `findings` draws conclusions, `report` and `write` print and record them, `figures` draws
them.
"""

ARM = "penalised"
"""Default swept arm."""
