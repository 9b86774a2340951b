"""Attacks on finished agents: whether an agent became robust in general, or only to the generator it was trained on.

Settings say what to do, `run_attack` makes one attack and writes its records, `run_attacks` spreads many over workers,
`records` reads the results, `table` prints them, and `command` implements `kerf attack`.
"""
