"""Records on disk: the store of a study, checkpoints, and where else they are kept."""
