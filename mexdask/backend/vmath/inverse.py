"""Inverse trigonometric functions."""

from __future__ import annotations

# asin(w) = w + w**3 * P(w**2) for w up to 1/2; beyond it pi/2 - 2 asin(sqrt((1 - x) / 2)), as in
# fdlibm. w + low is the root, m what asin(w) has over w.
ROOT = """\
    F a = fabs(x);
    M big = (M)(a > 0.5);
    F z = sel(big, (1.0 - a) * 0.5, a * a), root = sqrt(z), w = sel(big, root, a), p = root * root;
    F left = vm_fence(z - p) - prodlow(p, root, root);
    F low = left * (0.5 / sel((M)(root == 0.0), all(1.0), root));
    F m = w * (z * POLY(z, asin)) + sel(big, low, all(0.0));
"""
ROOT_SHORT = """\
    F a = fabs(x);
    M big = (M)(a > 0.5);
    F z = sel(big, (1.0 - a) * 0.5, a * a), w = sel(big, sqrt(z), a);
    F y = w + w * (z * POLY(z, asin_short));
"""

# The quotient t = n / d is at most 1/2, or has pi/4 or pi/2 to go.
PARTS = """\
    F a = fabs(x);
    M some = (M)(a > 0.5), many = (M)(a > 2.0);
    F n = sel(many, all(-1.0), sel(some, a - 1.0, a));
    F d = sel(many, a, sel(some, a + 1.0, all(1.0)));
    F base = sel(many, all(0x1.921fb54442d18p+0), sel(some, all(0x1.921fb54442d18p-1), all(0.0)));
    F rest = sel(many, all(0x1.1a62633145c07p-54), sel(some, all(0x1.1a62633145c07p-55), all(0.0)));
"""

SOURCES = {
    ("asin", "f64"): f"""\
static inline F asin(F x)
{{
{ROOT}\
    F t = vm_fence(0x1.921fb54442d18p+0 - 2.0 * w);
    F tl = fastlow(t, all(0x1.921fb54442d18p+0), -2.0 * w);
    F y = sel(big, t + ((tl + 0x1.1a62633145c07p-54) - 2.0 * m), w + m);
    return copysign(y, x);
}}""",
    ("acos", "f64"): f"""\
static inline F acos(F x)
{{
{ROOT}\
    M negative = (M)(x < 0.0);
    F base = sel(big, sel(negative, all(0x1.921fb54442d18p+1), all(0.0)),
                 all(0x1.921fb54442d18p+0));
    F rest = sel(big, sel(negative, all(0x1.1a62633145c07p-53), all(0.0)),
                 all(0x1.1a62633145c07p-54));
    F g = sel(big, all(2.0), all(-1.0)), sign = copysign(g, real(bits(g) ^ bits(x)));
    F u = sign * w, t = vm_fence(base + u);
    return t + (fastlow(t, base, u) + (rest + sign * m));
}}""",
    ("asinshort", "f64"): f"""\
static inline F asinshort(F x)
{{
{ROOT_SHORT}\
    return copysign(sel(big, 0x1.921fb54442d18p+0 - 2.0 * y, y), x);
}}""",
    ("acosshort", "f64"): f"""\
static inline F acosshort(F x)
{{
{ROOT_SHORT}\
    F s = copysign(y, x);
    F far = sel((M)(x < 0.0), 0x1.921fb54442d18p+1 - 2.0 * y, 2.0 * y);
    return sel(big, far, 0x1.921fb54442d18p+0 - s);
}}""",
    ("atan", "f64"): f"""\
static inline F atan(F x)
{{
{PARTS}\
    F t = n / d, z = t * t, u = vm_fence(base + t);
    F y = u + (fastlow(u, base, t) + ((t * z) * POLY(z, atan) + rest));
    return copysign(y, x);
}}""",
    ("atanshort", "f64"): """\
static inline F atanshort(F x)
{
    F a = fabs(x);
    M big = (M)(a > 1.0);
    F t = sel(big, all(-1.0), a) / sel(big, a, all(1.0)), z = t * t;
    F y = sel(big, all(0x1.921fb54442d18p+0), all(0.0)) + (t + (t * z) * POLY(z, atan_short));
    return copysign(y, x);
}""",
    # The angle of the smaller over the larger in two parts, turned into its eighth of the circle.
    ("atan2", "f64"): """\
static inline F atan2(F y, F x)
{
    F ax = fabs(x), ay = fabs(y);
    M steep = (M)(ay > ax), back = (M)((bits(x) & ~POSITIVE) != 0);
    F n = sel(steep, ax, ay), d = sel(steep, ay, ax), n0 = n, d0 = d;
    M odd = nle(ax, all(0x1p900)) | nle(ay, all(0x1p900)) | (M)(n < 0x1p-800);
    if (any(odd)) {
        M infinite = (M)(d == 1.0 / 0.0);
        n = sel(infinite, sel((M)(n == d), all(1.0), all(0.0)), n);
        d = sel(infinite | (M)(d == 0.0), all(1.0), d);
        n0 = n, d0 = d;
        F scale = sel((M)(d > 0x1p900), all(0x1p-200),
                      sel((M)(d < 0x1p-600), all(0x1p400), all(1.0)));
        n = n * scale, d = d * scale;
    }
    M half = (M)(2.0 * n > d);
    F m = sel(half, n - d, n), s = sel(half, vm_fence(n + d), d);
    F sl = sel(half, fastlow(s, d, n), all(0.0));
    F base = sel(half, all(0x1.921fb54442d18p-1), all(0.0));
    F rest = sel(half, all(0x1.1a62633145c07p-55), all(0.0));
    F inverse = 1.0 / s, t = m * inverse, p = t * s;
    F low = (vm_fence(vm_fence(m - p) - prodlow(p, t, s)) - t * sl) * inverse;
    if (any(odd)) {
        M tiny = (M)(n < d * 0x1p-60);
        t = sel(tiny, n0 / d0, t);
        low = sel(tiny, all(0.0), low);
    }
    F z = t * t, h = vm_fence(base + t);
    F l = fastlow(h, base, t) + ((t * z) * POLY(z, atan) + (low + rest));
    F turn = sel(steep, all(0x1.921fb54442d18p+0), sel(back, all(0x1.921fb54442d18p+1), all(0.0)));
    F turnlow = sel(steep, all(0x1.1a62633145c07p-54),
                    sel(back, all(0x1.1a62633145c07p-53), all(0.0)));
    F sign = sel((M)((steep ^ back) != 0), all(-1.0), all(1.0));
    F u = sign * h, v = vm_fence(turn + u);
    F r = v + (fastlow(v, turn, u) + (turnlow + sign * l));
    r = sel((M)(x != x) | (M)(y != y), x + y, r);
    return copysign(r, y);
}""",
    ("atan2short", "f64"): """\
static inline F atan2short(F y, F x)
{
    F ax = fabs(x), ay = fabs(y);
    M steep = (M)(ay > ax), back = (M)((bits(x) & ~POSITIVE) != 0);
    F n = sel(steep, ax, ay), d = sel(steep, ay, ax);
    M odd = nle(d, all(0x1p200)) | (M)(d == 0.0);
    if (any(odd)) {
        n = sel(odd, sel((M)(n == 1.0 / 0.0), all(1.0), all(0.0)), n);
        d = sel(odd, all(1.0), d);
    }
    F t = n / d, z = t * t, a = t + (t * z) * POLY(z, atan_short);
    a = sel(steep, 0x1.921fb54442d18p+0 - a, a);
    a = sel(back, 0x1.921fb54442d18p+1 - a, a);
    a = sel((M)(x != x) | (M)(y != y), x + y, a);
    return copysign(a, y);
}""",
}
