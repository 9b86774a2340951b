"""Matrix products of the sizes that agents have here, compiled, in place of a library's.

A library rearranges its arguments in memory before it multiplies them, which for layers of some dozens of units takes
as long as the multiplying, and is at its slowest for the few rows or columns of a head. Here a small *tile* of the
result stays in registers while its sums are formed, and every number is read where it lies. Each sum is formed in the
order of its terms, whatever the tile, so that results do not depend on how a matrix is cut.

Tiles are as wide as a vector of sixteen numbers, or two. A loop in Python's terms would not be compiled to that, so a
tile is written in the compiler's own (LLVM's) terms; uncompiled, it is a product of numpy's.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from kerf.lab.compiled import compiled

LANES = 16
"""The columns of a product are a multiple of this."""


class Tile:
    """`num_rows` rows and `num_columns` columns of `multiply`, whose arguments it takes, beside the first two.

    Attributes:
        num_rows: Of a tile.
        num_columns: Of a tile, a multiple of `LANES`.
    """

    def __init__(self, num_rows: int, num_columns: int) -> None:
        self.num_rows, self.num_columns = num_rows, num_columns

    def __call__(
        self, steps, a, a_at, a_row, a_step, b, b_at, b_step, start, start_at, start_row, out, out_at, out_row
    ) -> None:
        row, column, step = np.arange(self.num_rows)[:, None], np.arange(self.num_columns), np.arange(steps)
        product = a[a_at + row * a_row + step * a_step] @ b[b_at + step[:, None] * b_step + column]
        out[out_at + row * out_row + column] = start[start_at + row * start_row + column] + product

    @cached_property
    def _numba_type_(self) -> Any:
        """numba asks for this where a kernel calls it."""
        from numba.core import types
        from numba.core.typing.templates import make_intrinsic_template
        from numba.extending import intrinsic

        made = intrinsic(self._typed)
        return types.Function(make_intrinsic_template(made, made._defn, made._name))

    def _typed(
        self,
        typing_context,
        steps,
        a,
        a_at,
        a_row,
        a_step,
        b,
        b_at,
        b_step,
        start,
        start_at,
        start_row,
        out,
        out_at,
        out_row,
    ) -> Any:
        from numba.core import types

        whole = types.intp
        taken = (whole, a, whole, whole, whole, b, whole, whole, start, whole, whole, out, whole, whole)
        return types.void(*taken), self._write

    def _write(self, context, builder, signature, values) -> Any:
        """Write the tile: one loop for as many columns as registers hold the sums of."""
        from llvmlite import ir

        def numbers(array: int) -> Any:
            first = context.make_array(signature.args[array])(context, builder, values[array]).data
            return builder.gep(first, [values[array + 1]])

        at_once = 2 * (16 if "+avx512f" in context.codegen().magic_tuple()[2] else 8)
        for first in range(0, self.num_columns, at_once):
            columns = range(first, min(first + at_once, self.num_columns), at_once // 2)
            self._write_columns(ir, builder, values, *(numbers(array) for array in (1, 5, 8, 11)), columns)
        return context.get_dummy_value()

    def _write_columns(self, ir, builder, values, a, b, start, out, columns) -> None:
        """Those whose vectors begin at `columns`; `a` to `out` are pointers."""
        steps, _, _, a_row, a_step, _, _, b_step, _, _, start_row, _, _, out_row = values
        lanes = columns.step
        number, whole, index = ir.FloatType(), ir.IntType(64), ir.IntType(32)
        vector = ir.VectorType(number, lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(index, lanes), [0] * lanes)
        rows = range(self.num_rows)

        def place(base, row, row_length, column):
            at = builder.add(builder.mul(row_length, whole(row)), whole(column))
            return builder.bitcast(builder.gep(base, [at]), vector.as_pointer())

        name = f"llvm.fmuladd.v{lanes}f32"
        add_product = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(vector, [vector] * 3))
        starts = [[builder.load(place(start, row, start_row, at), align=4) for at in columns] for row in rows]
        firsts = [builder.gep(a, [builder.mul(a_row, whole(row))]) for row in rows]
        before = builder.block
        loop, after = builder.append_basic_block("steps"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(whole)
        sums = [[builder.phi(vector) for _ in columns] for _ in rows]
        b_here = builder.gep(b, [builder.mul(step, b_step)])
        b_vectors = [builder.load(place(b_here, 0, b_step, at), align=4) for at in columns]
        a_here = builder.mul(step, a_step)
        grown = []
        for row in rows:
            factor = builder.load(builder.gep(firsts[row], [a_here]), align=4)
            factors = builder.shuffle_vector(builder.insert_element(undefined, factor, index(0)), undefined, everywhere)
            grown.append(
                [
                    builder.call(add_product, [factors, b_vector, total])
                    for b_vector, total in zip(b_vectors, sums[row], strict=True)
                ]
            )
        following = builder.add(step, whole(1))
        step.add_incoming(whole(0), before)
        step.add_incoming(following, loop)
        for row in rows:
            for total, first, next_total in zip(sums[row], starts[row], grown[row], strict=True):
                total.add_incoming(first, before)
                total.add_incoming(next_total, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, after)
        builder.position_at_end(after)
        for row in rows:
            for at, total in zip(columns, grown[row], strict=True):
                builder.store(total, place(out, row, out_row, at), align=4)


_six_wide, _four_wide, _one_wide = (Tile(num_rows, 2 * LANES) for num_rows in (6, 4, 1))
_six, _four, _one = (Tile(num_rows, LANES) for num_rows in (6, 4, 1))


@compiled
def multiply(
    rows, columns, steps, a, a_at, a_row, a_step, b, b_at, b_step, start, start_at, start_row, out, out_at, out_row
):  # fmt: skip
    """`out` becomes `start` + `a` @ `b`, where all are parts of flat C-contiguous float32 arrays.

    Args:
        rows: Of the result; may be 0.
        columns: Of the result, a multiple of `LANES`.
        steps: Terms of each sum, >= 1.
        a: Number `[i, t]` is `a[a_at + i * a_row + t * a_step]`.
        b: Number `[t, j]` is `b[b_at + t * b_step + j]`.
        start: Number `[i, j]` is `start[start_at + i * start_row + j]`; so a `start_row` of 0 is the same for all rows.
        out: Number `[i, j]` is `out[out_at + i * out_row + j]`. It may be `start`, and nothing else.
    """
    wide = columns - columns % (2 * LANES)
    for j in range(0, wide, 2 * LANES):
        i = 0
        while i + 6 <= rows:
            _six_wide(
                steps, a, a_at + i * a_row, a_row, a_step, b, b_at + j, b_step,
                start, start_at + i * start_row + j, start_row, out, out_at + i * out_row + j, out_row,
            )  # fmt: skip
            i += 6
        while i + 4 <= rows:
            _four_wide(
                steps, a, a_at + i * a_row, a_row, a_step, b, b_at + j, b_step,
                start, start_at + i * start_row + j, start_row, out, out_at + i * out_row + j, out_row,
            )  # fmt: skip
            i += 4
        while i < rows:
            _one_wide(
                steps, a, a_at + i * a_row, a_row, a_step, b, b_at + j, b_step,
                start, start_at + i * start_row + j, start_row, out, out_at + i * out_row + j, out_row,
            )  # fmt: skip
            i += 1
    if wide < columns:
        i = 0
        while i + 6 <= rows:
            _six(
                steps, a, a_at + i * a_row, a_row, a_step, b, b_at + wide, b_step,
                start, start_at + i * start_row + wide, start_row, out, out_at + i * out_row + wide, out_row,
            )  # fmt: skip
            i += 6
        while i + 4 <= rows:
            _four(
                steps, a, a_at + i * a_row, a_row, a_step, b, b_at + wide, b_step,
                start, start_at + i * start_row + wide, start_row, out, out_at + i * out_row + wide, out_row,
            )  # fmt: skip
            i += 4
        while i < rows:
            _one(
                steps, a, a_at + i * a_row, a_row, a_step, b, b_at + wide, b_step,
                start, start_at + i * start_row + wide, start_row, out, out_at + i * out_row + wide, out_row,
            )  # fmt: skip
            i += 1
