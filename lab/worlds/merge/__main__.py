"""Command `python -m kerf.lab.worlds.merge`: prints how categorisers of failures label its cases, and disagree."""

from kerf.lab.worlds.merge.categorise import tables

if __name__ == "__main__":
    print(tables())
