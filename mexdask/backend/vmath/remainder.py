"""Remainders and floor division of floats, exact as C's ``fmod`` and rounded as NumPy does it."""

from __future__ import annotations

# Long division in binary: t is b times a power of two, at most a and more than half of it. Takes
# a step for each bit of the quotient, of which few numbers have more than fit a float.
FAR = """\
static __attribute__((noinline, const)) S ONE_farmod(S a, S b)
{
    if (!(a >= b && a <= LARGEST && b > 0)) return a;
    S t = b;
    while (t <= a * 0.5) t += t;
    for (;; t *= 0.5) {
        if (a >= t) a -= t;
        if (t == b) return a;
    }
}"""

FAR_LANES = """\
static __attribute__((noinline, const)) F farmods(F a, F b)
{
    S x[LANES], y[LANES];
    F r;
    __builtin_memcpy(x, &a, sizeof x);
    __builtin_memcpy(y, &b, sizeof y);
    for (int l = 0; l < LANES; ++l) x[l] = ONE_farmod(x[l], y[l]);
    __builtin_memcpy(&r, x, sizeof r);
    return r;
}"""

# Any whole number n near x / y will do if |x - n * y| is less than |y|: then it is a float, and a
# fused multiply-add, or Dekker's error of the product, gives it exactly. A sum with MAGIC is whole,
# but where n is below its least number.
NEAR = """\
static inline F nearmod(F x, F y)
{
    F q = x * (1.0 / y), s = vm_fence(q + MAGIC), n = vm_fence(s - MAGIC), r = residual(x, n, y);
    M far = nlt(fabs(r), fabs(y)) | (M)(n < LEAST);
    if (any(far)) {
        F a = fabs(x), b = fabs(y);
        M defined = (M)(a <= LARGEST) & (M)(b > 0.0);
        F slow = sel(defined, a, all(NAN));
        if (any(far & defined & (M)(a >= b))) slow = sel(defined, farmods(a, b), slow);
        r = sel(far, copysign(slow, x), r);
    }
    return r;
}"""

TRUNCATED = """\
static inline F fmod(F x, F y)
{
    F r = nearmod(x, y);
    M other = (M)((bits(r) ^ bits(x)) < 0) & (M)(r != 0.0);
    return copysign(sel(other, r + copysign(y, x), r), x);
}"""

FLOORED = """\
static inline F mod(F x, F y)
{
    F r = nearmod(x, y);
    M other = (M)((bits(r) ^ bits(y)) < 0);
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
        ("farmods", FAR_LANES),
        ("nearmod", NEAR),
        ("fmod", TRUNCATED),
        ("mod", FLOORED),
        ("floordiv", QUOTIENT),
    )
}
