"""Agents: networks, the RLlib training path, scripted policies. Imports `lab`; alone imports RLlib."""
