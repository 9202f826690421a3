"""Logarithms and inverse hyperbolic functions."""

from __future__ import annotations

# x = 2**k * (1 + f) with 1 + f between sqrt(1/2) and sqrt(2). k goes from bits to a float by way of
# 2**52's last places: not every machine converts whole numbers of 64 bits.
SPLIT = """\
    I up = (bits(v) - 0x3fe6a09e667f3bcdLL) & -0x10000000000000LL;
    F k = real((I)((U)(up + 0x4000000000000000LL) >> 52) | 0x4330000000000000LL) - bias;
    F f = real(bits(v) - up) - 1.0;
"""

# Subnormal numbers are scaled; what has no logarithm gets its value at the end.
ODD = """\
    M odd = (M)(x < 0x1p-1022) | nle(x, all(0x1.fffffffffffffp1023));
    F v = x, bias = all(0x1p52 + 1024.0);
    if (any(odd)) {
        M small = (M)(x < 0x1p-1022);
        v = sel(small, x * 0x1p54, x);
        bias = sel(small, all(0x1p52 + 1078.0), bias);
    }
"""
SPECIAL = """\
    if (any(odd)) {
        y = sel((M)(x == 0.0), all(-1.0 / 0.0), y);
        y = sel((M)(x < 0.0), all(NAN), y);
        y = sel(nle(x, all(0x1.fffffffffffffp1023)), x, y);
    }
    return y;
"""

# fdlibm's form, after Tang (1990): s = f / (2 + f), log(1 + f) = f - h + s * (h + R(s * s)) with
# h = f * f / 2.
SERIES = """\
    F s = f / (2.0 + f), z = s * s, h = (0.5 * f) * f;
    F r = s * (h + z * POLY(z, log));
"""

# FreeBSD's way to another base: f - h with 26 bits goes times the upper bits of 1 / ln(base).
UPPER = """\
    F fh = upper(f - h), fl = vm_fence(vm_fence(f - fh) - h) + r;
"""

# For float32 results: log(1 + f) itself.
SERIES_SHORT = """\
    F z = f * f, l = f + ((z * f) * POLY(f, log_short) - 0.5 * z);
"""


def short(name: str, value: str) -> str:
    """Return a logarithm of a float32 that is held in float64."""
    return f"""\
static inline F {name}(F x)
{{
    M odd = (M)(x <= 0.0) | nle(x, all(0x1p1000));
    F v = x, bias = all(0x1p52 + 1024.0);
{SPLIT}{SERIES_SHORT}    F y = {value};
{SPECIAL}}}"""


SOURCES = {
    ("log", "f64"): f"""\
static inline F log(F x)
{{
{ODD}{SPLIT}{SERIES}\
    F y = k * 0x1.62e42fefa4000p-1 - ((h - (r + k * -0x1.8432a1b0e2634p-43)) - f);
{SPECIAL}}}""",
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
    ("log2", "f64"): f"""\
static inline F log2(F x)
{{
{ODD}{SPLIT}{SERIES}{UPPER}\
    F a = fh * 0x1.7154768p+0, w = vm_fence(k + a);
    F b = (fl + fh) * -0x1.6a3e80f444178p-27 + fl * 0x1.7154768p+0;
    F y = w + (b + vm_fence(vm_fence(k - w) + a));
{SPECIAL}}}""",
    ("log10", "f64"): f"""\
static inline F log10(F x)
{{
{ODD}{SPLIT}{SERIES}{UPPER}\
    F a = fh * 0x1.bcb7b18p-2, g = k * 0x1.34413509f8000p-2, w = vm_fence(g + a);
    F b = (fl + fh) * -0x1.6c8d78e6acaa4p-29 + (fl * 0x1.bcb7b18p-2 + k * -0x1.80433b83b532ap-44);
    F y = w + (b + vm_fence(vm_fence(g - w) + a));
{SPECIAL}}}""",
    ("log2short", "f64"): short("log2short", "k + l * 0x1.71547652b82fep+0"),
    ("log10short", "f64"): short(
        "log10short", "k * 0x1.34413509f79ffp-2 + l * 0x1.bcb7b1526e50ep-2"
    ),
    ("lnshort", "f64"): short("lnshort", "k * 0x1.62e42fefa39efp-1 + l"),
    # log(a + b) + extra * log(2) for a > 0 and b below its last place, as in fdlibm's log1p.
    ("logsum", "f64"): f"""\
static inline F logsum(F v, F b, F extra)
{{
    F bias = all(0x1p52 + 1024.0);
{SPLIT}{SERIES}\
    F c = b * sel((M)(v > 0x1p1000), all(0.0), real(0x3ff0000000000000LL - up));
    c = c * (1.0 - f * (1.0 - f * (1.0 - f)));
    k = k + extra;
    return k * 0x1.62e42fefa4000p-1 - ((h - (r + (k * -0x1.8432a1b0e2634p-43 + c))) - f);
}}""",
    ("log1p", "f64"): """\
static inline F log1p(F x)
{
    F a = vm_fence(1.0 + x);
    F y = logsum(a, sumlow(a, all(1.0), x), all(0.0));
    M odd = (M)(x <= -1.0) | nle(x, all(0x1.fffffffffffffp1023));
    if (any(odd)) {
        y = sel((M)(x == -1.0), all(1.0 / 0.0), y);
        y = sel((M)(x < -1.0), all(NAN), y);
        y = sel(nle(x, all(0x1.fffffffffffffp1023)), x, y);
    }
    return copysign(y, x);
}""",
    ("log1pshort", "f64"): """\
static inline F log1pshort(F x)
{
    F a = vm_fence(1.0 + x), c = vm_fence(x - vm_fence(a - 1.0));
    F y = lnshort(a) + sel((M)(a < 2.0), c, all(0.0));
    return copysign(y, x);
}""",
    # log1p(a + a * a / (1 + sqrt(1 + a * a))) and, for acosh, log1p(t + sqrt(2 t + t * t)) of
    # t = x - 1, as in fdlibm, with sums in two parts.
    ("asinh", "f64"): """\
static inline F asinh(F x)
{
    F a = fabs(x), v = sel((M)(a > 0x1p30), all(0x1p30), a), z = v * v;
    F w = z / (1.0 + sqrt(1.0 + z)), h = vm_fence(v + w), l = fastlow(h, v, w);
    F s = vm_fence(1.0 + h);
    M large = (M)(a > 0x1p30);
    F b = sel(large, all(0.0), sumlow(s, all(1.0), h) + l);
    F y = logsum(sel(large, a, s), b, sel(large, all(1.0), all(0.0)));
    return copysign(sel(nle(a, all(0x1.fffffffffffffp1023)), a, y), x);
}""",
    ("acosh", "f64"): """\
static inline F acosh(F x)
{
    M large = (M)(x > 0x1p30);
    F t = sel(large, all(1.0), x) - 1.0, p = t * t, d = 2.0 * t, v = vm_fence(d + p);
    F root = sqrt(v), q = root * root;
    F rest = vm_fence(vm_fence(v - q) - prodlow(q, root, root))
           + (sumlow(v, d, p) + prodlow(p, t, t));
    F safe = sel((M)(root == 0.0), all(1.0), root), low = rest * (0.5 / safe);
    F h = vm_fence(t + root), l = sumlow(h, t, root) + low, s = vm_fence(1.0 + h);
    F b = sel(large, all(0.0), sumlow(s, all(1.0), h) + l);
    F y = logsum(sel(large, x, s), b, sel(large, all(1.0), all(0.0)));
    y = sel((M)(x < 1.0), all(NAN), y);
    return sel(nle(x, all(0x1.fffffffffffffp1023)), x, y);
}""",
    # log1p(2 a / (1 - a)) / 2.
    ("atanh", "f64"): """\
static inline F atanh(F x)
{
    F a = fabs(x), n = 2.0 * a, d = vm_fence(1.0 - a), dl = vm_fence(vm_fence(1.0 - d) - a);
    F q = n / d, p = q * d;
    F rest = vm_fence(vm_fence(n - p) - prodlow(p, q, d)) - q * dl, s = vm_fence(1.0 + q);
    F y = 0.5 * logsum(s, sumlow(s, all(1.0), q) + rest / d, all(0.0));
    M odd = nle(a, all(0x1.fffffffffffffp-1));
    if (any(odd)) {
        y = sel((M)(a == 1.0), all(1.0 / 0.0), y);
        y = sel((M)(a > 1.0), all(NAN), y);
        y = sel((M)(x != x), x, y);
    }
    return copysign(y, x);
}""",
    ("asinhshort", "f64"): """\
static inline F asinhshort(F x)
{
    F a = fabs(x), z = a * a;
    F y = log1pshort(a + z / (1.0 + sqrt(1.0 + z)));
    return copysign(sel(nle(a, all(0x1p200)), a, y), x);
}""",
    ("acoshshort", "f64"): """\
static inline F acoshshort(F x)
{
    F t = x - 1.0, y = log1pshort(t + sqrt(t * (t + 2.0)));
    y = sel((M)(x < 1.0), all(NAN), y);
    return sel(nle(x, all(0x1p200)), x, y);
}""",
    ("atanhshort", "f64"): """\
static inline F atanhshort(F x)
{
    F a = fabs(x), y = 0.5 * log1pshort((2.0 * a) / (1.0 - a));
    y = sel((M)(a == 1.0), all(1.0 / 0.0), sel((M)(a > 1.0), all(NAN), y));
    return copysign(y, x);
}""",
    # The larger plus log1p(exp(-distance)), as in NumPy.
    **{
        ("logaddexp", c): """\
static inline F logaddexp(F a, F b)
{
    M more = (M)(a > b);
    F top = sel(more, a, b), d = sel(more, b - a, a - b);
    F y = top + log1p(exp(sel((M)(a == b), all(0.0), d)));
    return sel((M)(a != a), a, y);
}"""
        for c in ("f32", "f64")
    },
}
