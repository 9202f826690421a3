"""Exponential functions."""

from __future__ import annotations

from string import Template

# Cody and Waite (1980): x = n ln 2 + r with ln 2 in two parts, a minimax polynomial in r.
# Magic numbers: adding 1.5 * 2**52 rounds to a whole number, which stands in the low bits.
EXP = Template("""\
static inline F $name(F x)
{
    F t = vm_fence(x * $per + $magic), n = vm_fence(t - $magic);
    F r = vm_fence(x - n * $high) - n * $low;
    F p = 1.0 + (r + (r * r) * POLY(r, $poly));
    F y = real(bits(p) + (bits(t) << MANTISSA));
    M far = nle(fabs(x), all($near));
    if (any(far)) {
        F h = vm_fence(n * 0.5 + $magic);
        F a = real((bits(h) + BIAS) << MANTISSA), b = real((bits(t) - bits(h) + BIAS) << MANTISSA);
        y = sel(far, p * a * b, y);
        y = sel((M)(x > $top), all(1.0 / 0.0), y);
        y = sel((M)(x < $bottom), all(0.0), y);
    }
    return y;
}""")

SOURCES = {
    ("exp", "f64"): EXP.substitute(
        name="exp", poly="exp", magic="0x1.8p52", per="0x1.71547652b82fep+0",
        high="0x1.62e42fefa4000p-1", low="-0x1.8432a1b0e2634p-43",
        near="708.0", top="0x1.62e42fefa39efp+9", bottom="-746.0",
    ),
    ("exp", "f32"): EXP.substitute(
        name="exp", poly="exp_short", magic="0x1.8p23", per="0x1.715476p+0",
        high="0x1.62e4p-1", low="0x1.7f7d1cp-20",
        near="87.0", top="0x1.62e42ep+6", bottom="-104.0",
    ),
}  # fmt: skip
