"""Exponential and hyperbolic functions."""

from __future__ import annotations

from string import Template

# Cody and Waite (1980): x = n * log_b(2) + r with the logarithm in two parts, and a minimax
# polynomial in r. Adding 1.5 * 2**52 rounds to a whole number, which then stands in the low bits.
EXP = Template("""\
static inline F $name(F x)
{
    F t = vm_fence(x$per + $magic), n = vm_fence(t - $magic);
    F $reduced;
    F p = 1.0 + (r$factor + ((r * r) * POLY(r, $poly)$rest));
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

# x = n * ln(2) + r + low.
REDUCED = """\
    F t = vm_fence(v * 0x1.71547652b82fep+0 + 0x1.8p52), n = vm_fence(t - 0x1.8p52);
    F u = vm_fence(v - n * 0x1.62e42fefa4000p-1), w = n * -0x1.8432a1b0e2634p-43;
    F r = vm_fence(u - w), low = vm_fence(vm_fence(u - r) - w);
    F q = (r * r) * POLY(r, exp) + low;
"""

# cosh and sinh of r for float32 results; up and down are 2**n / 2 and 2**-n / 2.
HALVES_SHORT = """\
    F t = vm_fence(v * 0x1.71547652b82fep+0 + 0x1.8p52), n = vm_fence(t - 0x1.8p52);
    F r = v - n * 0x1.62e42fefa39efp-1, z = r * r;
    F c = 1.0 + z * POLY(z, cosh_short), s = r + (r * z) * POLY(z, sinh_short);
    F up = real((bits(t) + 1022) << 52), down = real((1022 - bits(t)) << 52);
    F a = up + down, b = up - down;
"""

SOURCES = {
    ("exp", "f64"): EXP.substitute(
        name="exp", poly="exp", magic="0x1.8p52", per=" * 0x1.71547652b82fep+0", factor="",
        reduced="r = vm_fence(x - n * 0x1.62e42fefa4000p-1) - n * -0x1.8432a1b0e2634p-43", rest="",
        near="708.0", top="710.0", bottom="-746.0",
    ),
    ("exp", "f32"): EXP.substitute(
        name="exp", poly="exp_short", magic="0x1.8p23", per=" * 0x1.715476p+0", factor="",
        reduced="r = vm_fence(x - n * 0x1.62e4p-1) - n * 0x1.7f7d1cp-20", rest="",
        near="87.0", top="89.0", bottom="-104.0",
    ),
    ("exp2", "f64"): EXP.substitute(
        name="exp2", poly="exp2", magic="0x1.8p52", per="", factor=" * 0x1.62e42fefa39efp-1",
        reduced="r = x - n", rest="", near="1021.0", top="1025.0", bottom="-1076.0",
    ),
    ("exp2", "f32"): EXP.substitute(
        name="exp2", poly="exp2_short", magic="0x1.8p23", per="", factor=" * 0x1.62e43p-1",
        reduced="r = x - n", rest="", near="125.0", top="129.0", bottom="-151.0",
    ),
    ("exp10", "f64"): EXP.substitute(
        name="exp10", poly="exp10", magic="0x1.8p52", per=" * 0x1.a934f0979a371p+1",
        reduced="u = vm_fence(x - n * 0x1.34413509f8000p-2), w = n * -0x1.80433b83b532ap-44, "
        "r = vm_fence(u - w), low = vm_fence(vm_fence(u - r) - w)",
        rest=" + (low * 0x1.26bb1bbb55516p+1 + r * -0x1.f48ad494ea3e9p-53)",
        factor=" * 0x1.26bb1bbb55516p+1", near="307.0", top="309.0", bottom="-325.0",
    ),
    ("exp10", "f32"): EXP.substitute(
        name="exp10", poly="exp10_short", magic="0x1.8p23", per=" * 0x1.a934f0p+1",
        reduced="u = vm_fence(x - n * 0x1.344p-2), w = n * 0x1.3509f8p-18, "
        "r = vm_fence(u - w), low = vm_fence(vm_fence(u - r) - w)",
        rest=" + (low * 0x1.26bb1cp+1 + r * -0x1.12aabap-25)",
        factor=" * 0x1.26bb1cp+1", near="37.0", top="39.0", bottom="-46.0",
    ),
    # exp(x) - 1 = 2**n * ((1 - 2**-n) + (exp(r) - 1)), the sum in parens exact to its low part.
    ("expm1", "f64"): f"""\
static inline F expm1(F x)
{{
    F v = sel((M)(x > 710.0), all(710.0), sel((M)(x < -50.0), all(-50.0), x));
{REDUCED}\
    F c = sel((M)(n > 60.0), all(1.0), 1.0 - real((1023 - bits(t)) << 52));
    F h = vm_fence(c + r);
    F y = h + (fastlow(h, c, r) + q);
    return copysign((2.0 * y) * real((bits(t) + 1022) << 52), x);
}}""",
    ("expm1short", "f64"): """\
static inline F expm1short(F x)
{
    F v = sel((M)(x > 90.0), all(90.0), sel((M)(x < -40.0), all(-40.0), x));
    F t = vm_fence(v * 0x1.71547652b82fep+0 + 0x1.8p52), n = vm_fence(t - 0x1.8p52);
    F r = v - n * 0x1.62e42fefa39efp-1;
    F y = (1.0 - real((1023 - bits(t)) << 52)) + (r + (r * r) * POLY(r, exp_short));
    return copysign(y * real((bits(t) + 1023) << 52), x);
}""",
    # exp(x) / 2 in two parts, for 0 <= x <= 710.5.
    ("halfexp", "f64"): f"""\
static inline F halfexp(F v, F *rest)
{{
{REDUCED}\
    F h = vm_fence(1.0 + r), l = fastlow(h, all(1.0), r) + q;
    F y = vm_fence(h + l), scale = real((bits(t) + 1021) << 52);
    *rest = fastlow(y, h, l) * scale * 2.0;
    return y * scale * 2.0;
}}""",
    # (exp(x) + exp(-x)) / 2 and its like, as in fdlibm, but with both digits of exp(x) / 2; sinh
    # below 1 is a polynomial.
    ("cosh", "f64"): """\
static inline F cosh(F x)
{
    F a = fabs(x), low;
    F h = halfexp(sel((M)(a > 710.5), all(710.5), a), &low);
    return h + (low + 0.25 / h);
}""",
    ("sinh", "f64"): """\
static inline F sinh(F x)
{
    F a = fabs(x), z = a * a, low;
    F h = halfexp(sel((M)(a > 710.5), all(710.5), a), &low);
    F y = sel((M)(a < 1.0), a + (a * z) * POLY(z, sinh), h + (low - 0.25 / h));
    return copysign(y, x);
}""",
    ("coshshort", "f64"): f"""\
static inline F coshshort(F x)
{{
    F a0 = fabs(x), v = sel((M)(a0 > 100.0), all(100.0), a0);
{HALVES_SHORT}\
    return a * c + b * s;
}}""",
    ("sinhshort", "f64"): f"""\
static inline F sinhshort(F x)
{{
    F a0 = fabs(x), v = sel((M)(a0 > 100.0), all(100.0), a0);
{HALVES_SHORT}\
    return copysign(b * c + a * s, x);
}}""",
    # (exp(2x) - 1) / (exp(2x) + 1), both over 2**n, each in two parts.
    ("tanh", "f64"): f"""\
static inline F tanh(F x)
{{
    F a = fabs(x), v = 2.0 * sel((M)(a > 22.0), all(22.0), a);
{REDUCED}\
    F g = vm_fence(1.0 + r), gl = fastlow(g, all(1.0), r) + q;
    F h = vm_fence(g + gl), l = fastlow(h, g, gl), c = real((1023 - bits(t)) << 52);
    F d = vm_fence(h + c), dl = sumlow(d, h, c) + l, m = vm_fence(h - c), ml = sumlow(m, h, -c) + l;
    F top = vm_fence(m + ml);
    F y = quotient(top, sumlow(top, m, ml), d, dl);
    return copysign(sel((M)(a < 0x1p-28), a, y), x);
}}""",
    ("tanhshort", "f64"): f"""\
static inline F tanhshort(F x)
{{
    F a0 = fabs(x), v = sel((M)(a0 > 20.0), all(20.0), a0);
{HALVES_SHORT}\
    return copysign((b * c + a * s) / (a * c + b * s), x);
}}""",
}  # fmt: skip
