"""After-tests of a finished study: what became of the value that a penalty suppressed.

`case` loads an agent and what it is compared with, `behaviour`, `retraining` and `dormancy` hold the tests, `unit`
makes one and writes its records, and `command` implements `kerf after`. `kerf.runs.report.after` reads and judges them.
"""
