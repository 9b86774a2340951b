"""Matrix products written as tiles, against numpy's in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.agents.products import LANES, multiply

SHAPES = ((1, LANES, 1), (5, LANES, 3), (13, 2 * LANES, 7), (29, 5 * LANES, 11), (64, 3 * LANES, 300), (0, LANES, 2))


@pytest.mark.parametrize("across", [False, True], ids=("rows first", "columns first"))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_product_is_a_product_whichever_way_its_factor_lies(shape: tuple[int, int, int], across: bool) -> None:
    """Compiled and not; there is room around every part, which stays as it was."""
    rows, columns, steps = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, steps), np.float32), rng.standard_normal((steps, columns + 3), np.float32)
    start = rng.standard_normal((rows, columns), np.float32)
    wanted = start + a.astype(np.float64) @ b[:, :columns]
    lying = np.concatenate([[9.0], (a.T if across else a).ravel()]).astype(np.float32)
    a_row, a_step = (1, rows) if across else (steps, 1)
    for way in (multiply, multiply.py_func):
        out = np.full(5 + rows * (columns + 2), 7.0, np.float32)
        way(
            rows, columns, steps, lying, 1, a_row, a_step, b.ravel(), 0, columns + 3, start.ravel(), 0, columns,
            out, 5, columns + 2,
        )  # fmt: skip
        got = out[5:].reshape(rows, columns + 2)
        np.testing.assert_allclose(got[:, :columns], wanted, rtol=1e-5, atol=2e-6 * steps)
        assert (out[:5] == 7.0).all()
        assert (got[:, columns:] == 7.0).all()


def test_it_can_add_to_what_is_there_and_start_all_rows_alike() -> None:
    a, b = np.arange(14, dtype=np.float32), np.arange(2 * LANES, dtype=np.float32)
    bias, out = np.arange(LANES, dtype=np.float32), np.zeros(7 * LANES, np.float32)
    product = a.reshape(7, 2) @ b.reshape(2, LANES)
    multiply(7, LANES, 2, a, 0, 2, 1, b, 0, LANES, bias, 0, 0, out, 0, LANES)
    np.testing.assert_array_equal(out.reshape(7, LANES), bias + product)
    multiply(7, LANES, 2, a, 0, 2, 1, b, 0, LANES, out, 0, LANES, out, 0, LANES)
    np.testing.assert_array_equal(out.reshape(7, LANES), bias + 2 * product)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    """Tiles of six, four and one row give the same bytes."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((23, 40), np.float32), rng.standard_normal((40, 3 * LANES), np.float32)
    zeros, together = np.zeros(3 * LANES, np.float32), np.empty((23, 3 * LANES), np.float32)

    def product(rows: np.ndarray) -> np.ndarray:
        out = np.empty(len(rows) * 3 * LANES, np.float32)
        multiply(
            len(rows), 3 * LANES, 40, rows.ravel(), 0, 40, 1, b.ravel(), 0, 3 * LANES, zeros, 0, 0, out, 0, 3 * LANES
        )
        return out.reshape(len(rows), 3 * LANES)

    together[:] = product(a)
    for size in (1, 4, 5, 6):
        np.testing.assert_array_equal(product(a[:size]), together[:size])
