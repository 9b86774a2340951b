"""Ray clusters: a local one for trying things out, and access to a running one."""
