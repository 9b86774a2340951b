"""Benchmarks: the speed of the lab on this machine, measured in one run with its peers."""
