"""MLflow tracking: studies, sweeps and attacks as runs, copied from the records during the run or later."""
