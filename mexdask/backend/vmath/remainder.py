"""Remainders and floor division of floats, exact as C's ``fmod`` and rounded as NumPy does it."""

from __future__ import annotations

# Long division in binary: t is b times a power of two, at most a and more than half of it. Takes
# a step for each bit of the quotient, of which few numbers have more than fit a float.
FAR = """\
static __attribute__((noinline, const)) S ONE_farmod(S a, S b)
{
    if (!(a >= b && a <= LARGEST && b > 0)) return a; // not far: nobody reads this lane
    S t = b;
    while (t <= a * 0.5) t += t;
    for (;; t *= 0.5) {
        if (a >= t) a -= t;
        if (t == b) return a;
    }
}"""

FAR_LANES = """\
static __attribute__((noinline, const)) F farlanes(F a, F b)
{
    S x[LANES], y[LANES];
    F r;
    __builtin_memcpy(x, &a, sizeof x);
    __builtin_memcpy(y, &b, sizeof y);
    for (int l = 0; l < LANES; ++l) x[l] = ONE_farmod(x[l], y[l]);
    __builtin_memcpy(&r, x, sizeof r);
    return r;
}"""

# With the whole number n next to a / b, a - n * b is at most b / 2, and so a float: Dekker's error
# of the product gives it exactly. Whole numbers times b lose no bits below the smallest float.
TRUNCATED = """\
static inline F fmod(F x, F y)
{
    F a = fabs(x), b = fabs(y), q = a / b;
    F s = vm_fence(q + WHOLE), n = vm_fence(s - WHOLE), p = n * b;
    F r = vm_fence(vm_fence(a - p) - prodlow(p, n, b));
    r = sel((M)(r < 0.0), r + b, r);
    M far = nle(q, all(WHOLE)) | (M)(a > LARGE);
    if (any(far)) {
        M finite = (M)(a <= LARGEST) & (M)(b > 0.0);
        r = sel(far, all(NAN), r);
        if (any(far & finite)) r = sel(far & finite, farlanes(a, b), r);
    }
    return copysign(sel((M)(a < b), a, r), x);
}"""

FLOORED = """\
static inline F mod(F x, F y)
{
    F r = fmod(x, y);
    M other = (M)((bits(r) ^ bits(y)) < 0) & (M)(r != 0.0);
    return sel((M)(r == 0.0), copysign(r, y), sel(other, r + y, r));
}"""

# NumPy takes the quotient less what is left over, and rounds it; the sums with WHOLE, of the
# quotient's own sign, round to whole numbers.
QUOTIENT = """\
static inline F floordiv(F x, F y)
{
    F r = fmod(x, y), q = (x - r) / y, direct = x / y;
    M other = (M)((bits(r) ^ bits(y)) < 0) & (M)(r != 0.0);
    q = sel(other, q - 1.0, q);
    F limit = copysign(all(WHOLE), q), s = vm_fence(q + limit), n = vm_fence(s - limit);
    n = sel((M)(n > q), n - 1.0, n);
    n = sel((M)(vm_fence(q - n) > 0.5), n + 1.0, n);
    n = sel(nle(fabs(q), all(WHOLE)), q, n);
    return sel((M)(y == 0.0), direct, sel((M)(q == 0.0), copysign(all(0.0), direct), n));
}"""

SOURCES = {
    (name, c): source
    for c in ("f32", "f64")
    for name, source in (
        ("farmod", FAR),
        ("farlanes", FAR_LANES),
        ("fmod", TRUNCATED),
        ("mod", FLOORED),
        ("floordiv", QUOTIENT),
    )
}
