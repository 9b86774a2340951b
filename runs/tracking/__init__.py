"""MLflow: studies, sweeps and attacks as runs of an experiment. A mirror of the records, which can be filled later."""
