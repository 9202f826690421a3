"""Powers and roots."""

from __future__ import annotations

from mexdask.backend.vmath.logarithm import SPLIT

# The exponent of x goes to a whole third by way of floats; m is x / 2**(3 * third), from 1 to 8.
THIRDS = """\
    F e = real((I)((U)bits(v) >> 52) | 0x4330000000000000LL) - 0x1p52;
    F g = vm_fence(vm_fence(e * 0x1.5555555555555p-2 - 0x1.5555555555555p-2) + 0x1.8p52);
    F third = vm_fence(g - 0x1.8p52), over = e - 3.0 * third;
    F m1 = real((bits(v) & 0xfffffffffffffLL) | 0x3ff0000000000000LL);
    F m = m1 * sel((M)(over > 1.5), all(4.0), sel((M)(over > 0.5), all(2.0), all(1.0)));
    F r = POLY(m1, rcbrt)
        * sel((M)(over > 1.5), all(0x1.428a2f98d728bp-1),
              sel((M)(over > 0.5), all(0x1.965fea53d6e3dp-1), all(1.0)));
    F d = 1.0 - m * (r * r * r);
    r = r + r * (d * (0x1.5555555555555p-2 + d * 0x1.c71c71c71c71cp-3));
    F y = m * (r * r);
"""

# What a zero, an infinity, a negative base or a nan give, by C's rules; which y are whole and odd.
SPECIAL = """\
    if (any(rare)) {
        F ay = fabs(y), w = vm_fence(ay + 0x1p52);
        M whole = (M)(vm_fence(w - 0x1p52) == ay) | (M)(ay >= 0x1p52);
        I last = bits(sel((M)(ay >= 0x1p52), ay, w));
        M odd = whole & (M)((last & 1) != 0) & (M)(ay < 0x1p53);
        M one = (M)(x == 1.0) | (M)(y == 0.0) | ((M)(x == -1.0) & (M)(ay == 1.0 / 0.0));
        F none = sel((M)(y > 0.0), all(0.0), all(1.0 / 0.0));
        r = sel((M)(ax == 0.0), none, r);
        r = sel((M)(ax == 1.0 / 0.0), 1.0 / none, r);
        r = sel((M)(x < 0.0) & (M)(ax < 1.0 / 0.0) & (whole ^ TRUE), all(NAN), r);
        r = sel((M)(x != x) | (M)(y != y), x + y, r);
        I sign = bits(sel(odd, x, all(0.0))) & ~POSITIVE;
        r = real(bits(sel(one, all(1.0), r)) ^ sign);
    }
    return r;
}"""

SOURCES = {
    # log2(1 + f) = s * (c0 + z * (c1 + z * P(z))) with s = f / (2 + f), z = s * s: s, z, c0 and c1
    # in two parts each, as in fdlibm, gives 66 bits. Times y, in two parts, it goes to exp2.
    ("pow", "f64"): f"""\
static inline F pow(F x, F y)
{{
    F ax = fabs(x), v = ax, bias = all(0x1p52 + 1024.0);
    M rare = (M)(x < 0x1p-1022) | nle(ax, all(0x1.fffffffffffffp1023)) | nle(fabs(y), all(0x1p65));
    F e = y;
    if (any(rare)) {{
        M small = (M)(ax < 0x1p-1022);
        v = sel(small, ax * 0x1p54, ax);
        bias = sel(small, all(0x1p52 + 1078.0), bias);
        e = sel((M)(fabs(y) > 0x1p65), copysign(all(0x1p65), y), y);
    }}
{SPLIT}    F m = real(bits(v) - up), d = vm_fence(m + 1.0), dl = m - vm_fence(d - 1.0);
    F inverse = 1.0 / d, s = f * inverse, p = s * d;
    F sl = (vm_fence(vm_fence(f - p) - prodlow(p, s, d)) - s * dl) * inverse;
    F z = s * s, zl = prodlow(z, s, s) + 2.0 * s * sl;
    F a = z * POLY(z, pow), b = vm_fence(0x1.ec709dc3a03fdp-1 + a);
    F bl = fastlow(b, all(0x1.ec709dc3a03fdp-1), a) + 0x1.d27f05548af0cp-55;
    F c = z * b, cl = prodlow(c, z, b) + (zl * b + z * bl);
    F g = vm_fence(0x1.71547652b82fep+1 + c);
    F gl = fastlow(g, all(0x1.71547652b82fep+1), c) + (cl + 0x1.777d0ffda0d24p-55);
    F h = s * g, hl = prodlow(h, s, g) + (s * gl + sl * g);
    F l = vm_fence(k + h), low = fastlow(l, k, h) + hl;
    F top = vm_fence(l + low), rest = fastlow(top, l, low);
    F q = e * top, ql = prodlow(q, e, top) + e * rest;
    M far = nle(fabs(q), all(1020.0));
    F u = sel((M)(q > 1100.0), all(1100.0), sel((M)(q < -1100.0), all(-1100.0), q));
    F t = vm_fence(u + 0x1.8p52), n = vm_fence(t - 0x1.8p52), o = vm_fence(u - n) + ql;
    if (any(far)) o = sel((M)(u == q), o, all(0.0));
    F i = 1.0 + (o * 0x1.62e42fefa39efp-1 + (o * o) * POLY(o, exp2));
    F r = real(bits(i) + (bits(t) << 52));
    if (any(far)) {{
        F j = vm_fence(n * 0.5 + 0x1.8p52);
        F one = real((bits(j) + 1023) << 52), two = real((bits(t) - bits(j) + 1023) << 52);
        r = sel(far, i * one * two, r);
    }}
{SPECIAL}""",
    ("powshort", "f64"): f"""\
static inline F powshort(F x, F y)
{{
    F ax = fabs(x), v = ax, bias = all(0x1p52 + 1024.0);
    M rare = nle(x, all(0x1p200)) | nle(fabs(y), all(0x1p65)) | (M)(x <= 0.0);
{SPLIT}    F s = f / (2.0 + f), z = s * s;
    F q = y * (k + s * (0x1.71547652b82fep+1 + z * POLY(z, pow_short)));
    F u = sel((M)(q > 300.0), all(300.0), sel((M)(q < -300.0), all(-300.0), q));
    F t = vm_fence(u + 0x1.8p52), n = vm_fence(t - 0x1.8p52), o = u - n;
    F i = 1.0 + (o * 0x1.62e42fefa39efp-1 + (o * o) * POLY(o, exp2_short));
    F r = real(bits(i) + (bits(t) << 52));
{SPECIAL}""",
    # A polynomial for the inverse root, one step of Halley's iteration, and the root of its upper
    # half corrected by the exact remainder.
    ("cbrt", "f64"): f"""\
static inline F cbrt(F x)
{{
    F a = fabs(x), v = a, shift = all(0.0);
    M odd = (M)(a < 0x1p-1022) | nle(a, all(0x1.fffffffffffffp1023));
    if (any(odd)) {{
        M small = (M)(a < 0x1p-1022);
        v = sel(small, a * 0x1p54, a);
        shift = sel(small, all(18.0), shift);
    }}
{THIRDS}\
    F h = upper(y), s = h * h, sh = upper(s), sl = s - sh;
    F c = (vm_fence(m - sh * h) - sl * h) * ((r * r) * 0x1.5555555555555p-2);
    y = h + (c + (c * c) * r);
    F w = vm_fence(vm_fence(third - shift) + (0x1.8p52 + 682.0));
    y = y * real(bits(w) << 52);
    if (any(odd)) y = sel((M)(a == 0.0) | nle(a, all(0x1.fffffffffffffp1023)), a, y);
    return copysign(y, x);
}}""",
    ("cbrtshort", "f64"): f"""\
static inline F cbrtshort(F x)
{{
    F v = fabs(x);
{THIRDS}\
    y = y * real((bits(g) + 682) << 52);
    y = sel((M)(v == 0.0) | nle(v, all(0x1p200)), v, y);
    return copysign(y, x);
}}""",
    # The plain formula; squares that would overflow or vanish are scaled, as by Blue (1978).
    ("hypot", "f64"): """\
static inline F hypot(F x, F y)
{
    F a = fabs(x), b = fabs(y), scale = all(1.0), back = all(1.0);
    M odd = nle(a, all(0x1p500)) | nle(b, all(0x1p500)) | ((M)(a < 0x1p-450) & (M)(b < 0x1p-450));
    if (any(odd)) {
        M large = (M)(a > 0x1p500) | (M)(b > 0x1p500);
        M small = (M)(a < 0x1p-450) & (M)(b < 0x1p-450);
        scale = sel(large, all(0x1p-600), sel(small, all(0x1p600), scale));
        back = sel(large, all(0x1p600), sel(small, all(0x1p-600), back));
    }
    F c = a * scale, d = b * scale, r = sqrt(c * c + d * d) * back;
    if (any(odd)) r = sel((M)(a == 1.0 / 0.0) | (M)(b == 1.0 / 0.0), all(1.0 / 0.0), r);
    return r;
}""",
    ("hypotshort", "f64"): """\
static inline F hypotshort(F x, F y)
{
    F r = sqrt(x * x + y * y);
    return sel((M)(fabs(x) == 1.0 / 0.0) | (M)(fabs(y) == 1.0 / 0.0), all(1.0 / 0.0), r);
}""",
}
