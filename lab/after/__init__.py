"""After-tests: what became of a value whose behaviour training has changed.

Measures on policies and learning curves, in numpy alone: `relearning` (savings), `outcomes` (what replaced the act),
`contexts` (watched or not, trained layout or another), `tail` (worst scenarios), `trades` (which of two values gave
way), and `verdict`, which calls a value kept, suppressed, erased, concealed or moved by rules fixed beforehand.
"""
