"""The lab: what is studied and measured (scenarios, worlds, rollouts, rewards, graders, values, effects).

Imports none of `generators`, `agents` and `runs`.
"""
