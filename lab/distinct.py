"""Equal rows of an array, found by a hash table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.compiled import compiled


def distinct(rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For rows `(m, K)`: the first row of each kind `(k,)`, ascending, and the kind of each row `(m,)`.

    Rows are equal if their bytes are; a row's bytes must be a multiple of four. Whole rows are compared, so this is
    exact whatever the hash does.
    """
    rows = np.ascontiguousarray(rows)
    words = rows.view(np.uint32).reshape(len(rows), rows.shape[1] * rows.itemsize // 4)
    kind = np.empty(len(words), np.int64)
    first = np.empty(len(words), np.int64)
    table = np.full(1 << max(4, (2 * len(words)).bit_length()), -1, np.int64)
    num_kinds = _number_kinds(words, row_hash(words, 0), table, first, kind)
    return first[:num_kinds].copy(), kind


def row_hash(words: NDArray[np.uint32], salt: int) -> NDArray[np.uint64]:
    """64-bit hashes `(m,)` of rows `(m, K)`; another `salt` gives other hashes."""
    keys = np.random.SeedSequence(salt).generate_state(2 * words.shape[1], np.uint64) | np.uint64(1)
    hashes = np.empty(len(words), np.uint64)
    _hash_rows(words, keys.reshape(2, -1), hashes)
    return hashes


@compiled
def _hash_rows(words, keys, hashes):  # type: ignore[no-untyped-def]  # compiled
    """Multiply, fold and multiply again, each column with odd `keys` `(2, K)` of its own; then SplitMix64's finaliser
    (Steele, Lea and Flood 2014)."""
    for i in range(len(words)):
        h = np.uint64(0)
        for k in range(words.shape[1]):
            x = (np.uint64(words[i, k]) + np.uint64(1)) * keys[0, k]
            h += (x ^ (x >> np.uint64(32))) * keys[1, k]
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashes[i] = h ^ (h >> np.uint64(31))


@compiled
def _number_kinds(words, hashes, table, first, kind):  # type: ignore[no-untyped-def]  # compiled
    """Number the kinds of rows in order of appearance; `table` is all -1, and its length a power of two."""
    mask = np.uint64(len(table) - 1)
    num_kinds = 0
    for i in range(len(words)):
        place = hashes[i] & mask
        while True:
            known = table[np.int64(place)]
            if known < 0:
                table[np.int64(place)] = num_kinds
                first[num_kinds] = i
                kind[i] = num_kinds
                num_kinds += 1
                break
            same = True
            for k in range(words.shape[1]):
                if words[first[known], k] != words[i, k]:
                    same = False
                    break
            if same:
                kind[i] = known
                break
            place = (place + np.uint64(1)) & mask
    return num_kinds
