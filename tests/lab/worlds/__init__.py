"""Tests of the worlds that are state machines, by their own rules."""
