"""The error function and its complement."""

from __future__ import annotations

# exp(a * a) * erfc(a) * (1 + 2 a) hardly varies: a polynomial in t = (a - 3) / (a + 3), after
# Shepherd and Laframboise (1981). a * a, the exponential and the quotient are in two parts each.
# c is erfc(a), good for a above 0.24.
COMPLEMENT = """\
    F a0 = fabs(x), a = sel((M)(a0 > 28.0), all(28.0), a0);
    F d = vm_fence(1.0 + 2.0 * a), dl = vm_fence(1.0 - d) + 2.0 * a, e = a + 3.0;
    F inverse = 1.0 / (d * e), t = ((a - 3.0) * d) * inverse, over = e * inverse;
    F g0 = t * POLY(t, erfc_rest), g1 = all(0x1.40c522d7e4987p+0), g = vm_fence(g1 + g0);
    F gl = fastlow(g, g1, g0);
    F w = g * over, p = w * d;
    F wl = (vm_fence(vm_fence(g - p) - prodlow(p, w, d)) + (gl - w * dl)) * over;
    F v = -(a * a), vl = -prodlow(-v, a, a);
    F s = vm_fence(v * 0x1.71547652b82fep+0 + 0x1.8p52), n = vm_fence(s - 0x1.8p52);
    F u = vm_fence(v - n * 0x1.62e42fefa4000p-1), m = n * -0x1.8432a1b0e2634p-43 - vl;
    F r = vm_fence(u - m), low = vm_fence(vm_fence(u - r) - m);
    F h = vm_fence(1.0 + r), hl = fastlow(h, all(1.0), r) + ((r * r) * POLY(r, exp) + low);
    F b = vm_fence(h + hl), bl = fastlow(b, h, hl);
    F c = b * w;
    c = c + (prodlow(c, b, w) + (b * wl + bl * w));
    F half = vm_fence(n * 0.5 + 0x1.8p52);
    c = c * real((bits(half) + 1023) << 52) * real((bits(s) - bits(half) + 1023) << 52);
"""
COMPLEMENT_SHORT = """\
    F a0 = fabs(x), a = sel((M)(a0 > 10.5), all(10.5), a0);
    F d = 1.0 + 2.0 * a, e = a + 3.0, inverse = 1.0 / (d * e), t = ((a - 3.0) * d) * inverse;
    F v = -(a * a);
    F s = vm_fence(v * 0x1.71547652b82fep+0 + 0x1.8p52), n = vm_fence(s - 0x1.8p52);
    F r = v - n * 0x1.62e42fefa39efp-1;
    F c = (1.0 + (r + (r * r) * POLY(r, exp_short))) * (POLY(t, erfc_short) * (e * inverse));
    c = real(bits(c) + (bits(s) << 52));
"""

SOURCES = {
    ("erf", "f64"): f"""\
static inline F erf(F x)
{{
{COMPLEMENT}\
    F z = a * a, y = sel((M)(a < 1.0), a + a * POLY(z, erf), 1.0 - c);
    return copysign(sel((M)(x != x), x, y), x);
}}""",
    ("erfc", "f64"): f"""\
static inline F erfc(F x)
{{
{COMPLEMENT}\
    F z = a * a, y = vm_fence(1.0 - x);
    y = y + (sumlow(y, all(1.0), -x) - x * POLY(z, erf));
    y = sel((M)(a < 1.0) & (M)(x < 0.75), y, sel((M)(x < 0.0), 2.0 - c, c));
    return sel((M)(x != x), x, y);
}}""",
    ("erfshort", "f64"): f"""\
static inline F erfshort(F x)
{{
{COMPLEMENT_SHORT}\
    F z = a * a, y = sel((M)(a < 1.0), a * POLY(z, erf_short), 1.0 - c);
    return copysign(sel((M)(x != x), x, y), x);
}}""",
    ("erfcshort", "f64"): f"""\
static inline F erfcshort(F x)
{{
{COMPLEMENT_SHORT}\
    F z = a * a, y = 1.0 - copysign(a * POLY(z, erf_short), x);
    y = sel((M)(a < 1.0) & (M)(x < 0.25), y, sel((M)(x < 0.0), 2.0 - c, c));
    return sel((M)(x != x), x, y);
}}""",
}
