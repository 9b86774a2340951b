"""Collections of studies: run one after another, and summed up in one table and on one page."""
