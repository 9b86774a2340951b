"""Comparison of studies: `kerf compare`."""
