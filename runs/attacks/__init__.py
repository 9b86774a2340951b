"""Attacks on finished agents: was one made robust, or only against its own teacher?

`plan` says what is to be done, `assault` does one attack and writes its records, `grid` spreads many over workers,
`found` reads what came of them, `table` prints it, `command` is what `kerf attack` calls.
"""
