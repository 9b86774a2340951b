"""Sources of scenarios: natural, scripted, and adversaries that search. Imports `lab` only."""
