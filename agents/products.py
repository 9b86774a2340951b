"""Register-tiled matrix products for small layers, compiled.

BLAS packs its operands into contiguous buffers before it multiplies them, which for layers of some dozens of units
takes as long as the product, and is at its slowest for the few rows or columns of a head. Here a small *tile* of the
result (6, 4 or 1 rows by 32 or 16 columns) stays in vector registers while its sums are formed, and operands are read
in place. Each sum is formed in the order of its terms, whatever the tile, so results do not depend on how a matrix is
cut.

numba does not compile a plain loop to that, so a tile is generated as LLVM IR; uncompiled, it is a numpy product.
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
    """A block of `num_rows` rows and `num_columns` columns of `multiply`; called with its arguments from `steps` on.

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
        """The type that numba asks for where a kernel calls the tile: an intrinsic, whose code is `_write`'s."""
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
        """Generate the tile's code: a loop over `steps` for each group of columns whose sums fit the registers.

        Such a group is two vectors wide: of 16 numbers each with AVX-512, else of 8.
        """
        from llvmlite import ir

        def numbers(array: int) -> Any:
            first = context.make_array(signature.args[array])(context, builder, values[array]).data
            return builder.gep(first, [values[array + 1]])

        at_once = 2 * (16 if "+avx512f" in context.codegen().magic_tuple()[2] else 8)
        for first in range(0, self.num_columns, at_once):
            columns = range(first, min(first + at_once, self.num_columns), at_once // 2)
            a, b, start, out = (numbers(array) for array in (1, 5, 8, 11))
            self._write_columns(ir, builder, values, a, b, start, out, columns)
        return context.get_dummy_value()

    def _write_columns(self, ir, builder, values, a, b, start, out, columns) -> None:
        """Generate the loop for the columns of the vectors that begin at `columns`; `a` to `out` are pointers.

        The loop, for t in range(steps), with `sums[row][column]` vectors in registers that begin as `start`:
        `sums[row][column] += a[row, t] * b[t, column]`, where `a[row, t]` is broadcast to all lanes of a vector and
        product and sum are fused (`llvm.fmuladd`). After it the sums are stored to `out`.
        """
        steps, _, _, a_row, a_step, _, _, b_step, _, _, start_row, _, _, out_row = values
        lanes = columns.step
        number, whole, index = ir.FloatType(), ir.IntType(64), ir.IntType(32)
        vector = ir.VectorType(number, lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(index, lanes), [0] * lanes)
        rows = range(self.num_rows)

        def place(base, row, row_length, column):  # pointer to the vector at [row, column]
            at = builder.add(builder.mul(row_length, whole(row)), whole(column))
            return builder.bitcast(builder.gep(base, [at]), vector.as_pointer())

        name = f"llvm.fmuladd.v{lanes}f32"
        add_product = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(vector, [vector] * 3))
        starts = [[builder.load(place(start, row, start_row, at), align=4) for at in columns] for row in rows]
        firsts = [builder.gep(a, [builder.mul(a_row, whole(row))]) for row in rows]
        # The loop: phi nodes hold the step and the sums, from `before` at first, from the loop itself later on.
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
        # The step's end: what the phi nodes become, and the jump.
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
    # Columns in groups of two vectors, and the last by itself if their number is odd; in each, as many rows at once as
    # registers hold: six, then four, then one by one.
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
