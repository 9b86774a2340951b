"""Records on disk: the store of a study, its checkpoints and its remote copy."""
