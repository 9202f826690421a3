"""Logarithms."""

from __future__ import annotations

# x = 2**k * m with m between sqrt(1/2) and sqrt(2). Bits, so that no width needs to convert
# integers: k + 1024 is put below 2**52's last place.
SPLIT = """\
    M odd = (M)(x < $tiny) | nle(x, all($huge));
    F v = x, bias = all($bias);
    if (any(odd)) {
        M small = (M)(x < $tiny);
        v = sel(small, x * $up, x);
        bias = sel(small, all($bias + MANTISSA + 1.0), bias);
    }
"""

SOURCES = {
    # Tang's and fdlibm's form: s = f / (2 + f), log(1 + f) = f - f*f/2 + s * (f*f/2 + R(s*s)).
    ("log", "f64"): """\
static inline F log(F x)
{
    M odd = (M)(x < 0x1p-1022) | nle(x, all(0x1.fffffffffffffp1023));
    F v = x, bias = all(0x1p52 + 1024.0);
    if (any(odd)) {
        M small = (M)(x < 0x1p-1022);
        v = sel(small, x * 0x1p54, x);
        bias = sel(small, all(0x1p52 + 1078.0), bias);
    }
    I e = bits(v) - 0x3fe6a09e667f3bcdLL, up = e & -0x10000000000000LL;
    F k = real((I)((U)(up + 0x4000000000000000LL) >> 52) | 0x4330000000000000LL) - bias;
    F f = real(bits(v) - up) - 1.0;
    F s = f / (2.0 + f), z = s * s, h = (0.5 * f) * f;
    F r = z * POLY(z, log);
    F y = k * 0x1.62e42fefa4000p-1
        - ((h - (s * (h + r) + k * -0x1.8432a1b0e2634p-43)) - f);
    if (any(odd)) {
        y = sel((M)(x == 0.0), all(-1.0 / 0.0), y);
        y = sel((M)(x < 0.0), all(NAN), y);
        y = sel(nle(x, all(0x1.fffffffffffffp1023)), x, y);
    }
    return y;
}""",
    ("log", "f32"): """\
static inline F log(F x)
{
    M odd = (M)(x < 0x1p-126) | nle(x, all(0x1.fffffep127));
    F v = x, bias = all(0x1p23 + 128.0);
    if (any(odd)) {
        M small = (M)(x < 0x1p-126);
        v = sel(small, x * 0x1p25, x);
        bias = sel(small, all(0x1p23 + 153.0), bias);
    }
    I e = bits(v) - 0x3f3504f3, up = e & -0x800000;
    F k = real((I)((U)(up + 0x40000000) >> 23) | 0x4b000000) - bias;
    F f = real(bits(v) - up) - 1.0, z = f * f;
    F r = (z * f) * POLY(f, log_short) + k * 0x1.7f7d1cp-20;
    F y = k * 0x1.62e4p-1 + (f + (r - 0.5 * z));
    if (any(odd)) {
        y = sel((M)(x == 0.0), all(-1.0 / 0.0), y);
        y = sel((M)(x < 0.0), all(NAN), y);
        y = sel(nle(x, all(0x1.fffffep127)), x, y);
    }
    return y;
}""",
}
