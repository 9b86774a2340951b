"""Exponential and logarithm in single precision, in a form that the compiler vectorises.

A library's functions are called for one number at a time, and then cost more than all else in a softmax. Here both are
a few products and sums without a branch: range reduction by powers of two to a short interval, where a power series
needs few terms. They work on the bits of a float32: sign (1 bit), exponent plus 127 (8 bits), mantissa (23 bits).
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import math

import numpy as np

from kerf.lab.compiled import fused

LARGEST = np.float32(88.0)
"""Above it `exp` is infinite; a little below what single precision could still hold."""
SMALLEST = np.float32(-87.0)
"""Below it `exp` is zero; a little above what single precision could still hold in full precision."""

_ZERO, _ONE, _INFINITE = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
_PER_POWER = np.float32(1.0 / math.log(2.0))
_ROUND = np.float32(1.5 * 2**23)  # adding it rounds a number to the nearest whole one, in the lowest bits
_ROUND_BITS = int(_ROUND.view(np.int32)) - 127  # 127: that of the exponent 0 in a float32
_LN2_HIGH = np.float32(0.693359375)  # few bits, so that its multiples are exact
_LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
_E2, _E3, _E4, _E5, _E6, _E7 = (np.float32(1.0 / math.factorial(k)) for k in range(2, 8))
_L3, _L5, _L7, _L9 = (np.float32(2.0 / k) for k in (3, 5, 7, 9))
_TWO = np.float32(2.0)
_HALF_ROOT_BITS = int(np.float32(math.sqrt(0.5)).view(np.int32))


@fused
def exp(x):
    """exp of one float32, with a relative error below 2e-7 between `SMALLEST` and `LARGEST`. NaN stays NaN."""
    # Range reduction: x = power * ln 2 + r, with power whole and |r| <= ln 2 / 2.
    within = min(max(x, SMALLEST), LARGEST)
    rounded = np.float32(within * _PER_POWER + _ROUND)
    power = rounded - _ROUND
    r = within - power * _LN2_HIGH
    r = r - power * _LN2_LOW
    # exp(r), its Taylor series to the seventh power, by Horner's rule.
    series = r * _E7 + _E6
    series = r * series + _E5
    series = r * series + _E4
    series = r * series + _E3
    series = r * series + _E2
    series = r * series + _ONE
    series = r * series + _ONE
    # 2^power: `power` plus 127 in the place of the exponent, all other bits 0.
    scale = np.int32((rounded.view(np.int32) - _ROUND_BITS) << 23).view(np.float32)
    result = series * scale
    result = _ZERO if x < SMALLEST else result
    return _INFINITE if x > LARGEST else result


@fused
def log(x):
    """log of one positive normal float32; its error is below 1e-7 plus 2e-7 of the result."""
    # Range reduction: x = 2^power * mantissa, with the mantissa from sqrt(1/2) to sqrt(2).
    bits = np.float32(x).view(np.int32)
    power = (bits - _HALF_ROOT_BITS) >> 23
    mantissa = np.int32(bits - (power << 23)).view(np.float32)
    # log(mantissa) = 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), to the ninth power.
    s = (mantissa - _ONE) / (mantissa + _ONE)
    square = s * s
    series = square * _L9 + _L7
    series = square * series + _L5
    series = square * series + _L3
    series = square * series + _TWO
    whole = np.float32(power)
    return whole * _LN2_HIGH + (s * series + whole * _LN2_LOW)
