"""Messages about misspelt names."""

from __future__ import annotations

from kerf.lab.errors import FEW, MANY, unknown_name


def test_it_lists_what_is_known_and_of_many_the_nearest():
    assert str(unknown_name("arm", "penalized", ["yoked", "penalised"])) == (
        "unknown arm 'penalized'; did you mean 'penalised'? (known: penalised, yoked)"
    )
    assert str(unknown_name("arm", "x", ["yoked"])) == "unknown arm 'x' (known: yoked)"
    many = [f"cells/penalised/seed-{seed}" for seed in range(MANY)] + ["aligned/seed-0"]
    said = str(unknown_name("agent", "align/seed-0", many))
    assert "did you mean 'aligned/seed-0'? (known: aligned/seed-0, cells/" in said
    assert said.endswith(f", and {len(many) - FEW} more)")
    assert said.count(",") == FEW
