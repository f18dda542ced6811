"""Exponential, logarithm, sine and normal quantile from IEEE additions and multiplications alone.

The functions of a machine's C library differ in the last bit from one machine to another, and one bit can
swap two events. What is computed here is the same everywhere, because IEEE 754 fixes the result of every
operation it uses.
"""

from __future__ import annotations

import math

from numba import njit

__all__ = ["exact_exp", "exact_log", "exact_sine_turn", "normal_quantile"]

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10


@njit(cache=True)
def exact_exp(x: float) -> float:
    """Exponential of ``x`` within −700 … 700, relative error below 1e-15."""
    x = min(max(x, -700.0), 700.0)
    k = math.floor(x / (_LN2_HIGH + _LN2_LOW) + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = 1.0
    for i in range(16, 0, -1):  # Horner form of the Taylor series; |r| ≤ 0.35
        total = 1.0 + total * r / i
    return math.ldexp(total, int(k))


@njit(cache=True)
def exact_log(x: float) -> float:
    """Natural logarithm of a positive ``x``, relative error below 1e-15 away from 1."""
    mantissa, exponent = math.frexp(x)
    if mantissa < 0.7071067811865476:
        mantissa *= 2.0
        exponent -= 1
    z = (mantissa - 1.0) / (mantissa + 1.0)
    square = z * z
    total = 0.0
    for i in range(25, 0, -2):  # 2 artanh(z); |z| ≤ 0.172
        total = total * square + 1.0 / i
    return exponent * _LN2_HIGH + (2.0 * z * total + exponent * _LN2_LOW)


@njit(cache=True)
def exact_sine_turn(turns: float) -> float:
    """Sine of ``turns`` whole turns, that is sin(2π · turns), absolute error below 1e-14."""
    x = turns - math.floor(turns)  # 0 … 1
    if x >= 0.5:
        return -exact_sine_half(x - 0.5)
    return exact_sine_half(x)


@njit(cache=True)
def exact_sine_half(x: float) -> float:
    """Sine of 2πx for x within 0 … ½."""
    if x > 0.25:
        x = 0.5 - x
    angle = 6.283185307179586 * x
    square = angle * angle
    total = 1.0
    for i in range(22, 1, -2):
        total = 1.0 - total * square / (i * (i + 1))
    return angle * total


@njit(cache=True)
def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution for p within (0, 1), relative error below 1.2e-9.

    Acklam's rational approximation (2003), whose error is far below what any delay is known to.
    """
    if p < 0.02425:
        q = math.sqrt(-2.0 * exact_log(p))
        return _tail(q)
    if p > 1.0 - 0.02425:
        q = math.sqrt(-2.0 * exact_log(1.0 - p))
        return -_tail(q)
    q = p - 0.5
    r = q * q
    numerator = (
        (
            (((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.3577518672690)
            * r
            - 30.66479806614716
        )
        * r
        + 2.506628277459239
    ) * q
    denominator = (
        (((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r
        - 13.28068155288572
    ) * r + 1.0
    return numerator / denominator


@njit(cache=True)
def _tail(q: float) -> float:
    numerator = (
        (((-0.007784894002430293 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734)
        * q
        + 4.374664141464968
    ) * q + 2.938163982698783
    denominator = (
        ((0.007784695709041462 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416
    ) * q + 1.0
    return numerator / denominator
