"""The benches: how fast the lab is here, measured in one run against its peers."""
