"""Ray clusters: a local one to try things on, and joining one that is there."""
