"""Sine, cosine and tangent."""

from __future__ import annotations

# Payne and Hanek (1983): of x * 2 / pi, only the bits that count, in whole numbers. Gives x modulo
# pi / 2 in two parts, and which quarter.
FAR = """\
static __attribute__((noinline, const)) f64 ONE_farlane(f64 x, int part)
{
    // 2 / pi to 1280 bits, behind 64 zeros.
    static const u32 table[] = {
        0x0, 0x0, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599,
        0x3c439041, 0xfe5163ab, 0xdebbc561, 0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c,
        0xfe1deb1c, 0xb129a73e, 0xe88235f5, 0x2ebb4484, 0xe99c7026, 0xb45f7e41, 0x3991d639,
        0x835339f4, 0x9c845f8b, 0xbdf9283b, 0x1ff897ff, 0xde05980f, 0xef2f118b, 0x5a0a6d1f,
        0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d, 0x7527bac7, 0xebe5f17b, 0x3d0739f7,
        0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046, 0xfc7b6bab, 0xf0cfbc20, 0x9af4361d,
    };
    u64 u, q, high, low, carry = 0;
    u32 w[6];
    __builtin_memcpy(&u, &x, sizeof u);
    int exponent = (int)(u >> 52 & 0x7ff);
    if (exponent == 0x7ff) return x - x;
    if (exponent < 1013) return x; // not far: a neighbour is, and nobody reads this lane
    int at = exponent - 1075 + 62;
    const u32 *from = table + at / 32;
    const u64 a = u & 0xffffffff, b = (u >> 32 & 0xfffff) | 0x100000;
    for (int i = 5; i >= 0; --i) {
        u64 two = (u64)from[i] << 32 | from[i + 1];
        u64 t = (two >> (32 - at % 32) & 0xffffffff) * a + carry;
        w[i] = (u32)t, carry = t >> 32;
    }
    carry = 0;
    for (int i = 5; i >= 1; --i) {
        u64 two = (u64)from[i] << 32 | from[i + 1];
        u64 t = (two >> (32 - at % 32) & 0xffffffff) * b + w[i - 1] + carry;
        w[i - 1] = (u32)t, carry = t >> 32;
    }
    high = (u64)w[0] << 32 | w[1], low = (u64)w[2] << 32 | w[3];
    q = high >> 62;
    high = high << 2 | low >> 62, low = low << 2 | w[4] >> 30;
    const f64 side = (i64)high < 0 ? -1 : 1;
    if ((i64)high < 0) ++q, low = 0 - low, high = ~high + (low == 0);
    if (part == 2) return (f64)(q & 3);
    f64 d = (f64)(high >> 11) * 0x1p-53;
    f64 l = (f64)((high & 0x7ff) << 42 | low >> 22) * 0x1p-106 + (f64)(low & 0x3fffff) * 0x1p-128;
    f64 s = d + l;
    l = vm_fence(l - vm_fence(s - d));
    f64 p = s * 0x1.921fb54442d18p+0;
    f64 e = s * 0x1.1a62633145c07p-54 + l * 0x1.921fb54442d18p+0;
    e += ONE_prodlow(p, s, 0x1.921fb54442d18p+0);
    d = p + e;
    return side * (part ? vm_fence(e - vm_fence(d - p)) : d);
}"""

FARREDUCE = """\
static __attribute__((noinline, const)) F farreduce(F x, int part)
{
    F y = x;
    for (int l = 0; l < LANES; ++l) ((f64 *)&y)[l] = ONE_farlane(((f64 *)&y)[l], part);
    return y;
}"""

# Cody and Waite (1980): pi / 2 in four parts of 29 bits, so that n times a part is exact for
# n < 2**24. x = n * pi / 2 + r + low.
REDUCE = """\
    F a = fabs(x), t = vm_fence(a * 0x1.45f306dc9c883p-1 + 0x1.8p52), n = vm_fence(t - 0x1.8p52);
    I q = bits(t);
    F u = vm_fence(a - n * 0x1.921fb54p+0), w = n * 0x1.10b4612p-30;
    F r1 = vm_fence(u - w), l1 = vm_fence(vm_fence(u - r1) - w);
    w = n * -0x1.676733cp-60;
    F r = vm_fence(r1 - w);
    F low = l1 + (vm_fence(vm_fence(r1 - r) - w) - n * 0x1.1701b839a2520p-88);
    M far = nle(a, all(0x1p24));
    if (any(far)) {
        r = sel(far, farreduce(a, 0), r);
        low = sel(far, farreduce(a, 1), low);
        q = bits(sel(far, farreduce(a, 2) + 0x1.8p52, t));
    }
"""

KERNELS = """\
    F z = r * r;
    F s1 = (r * z) * POLY(z, sin) + low;
    F h = 0.5 * z, v = 1.0 - h;
    F c1 = ((1.0 - v) - h) + ((z * z) * POLY(z, cos) - r * low);
"""

REDUCE_SHORT = """\
    F a = fabs(x), t = vm_fence(a * 0x1.45f306dc9c883p-1 + 0x1.8p52), n = vm_fence(t - 0x1.8p52);
    I q = bits(t);
    F r = vm_fence(a - n * 0x1.921fb54p+0) - n * 0x1.10b4611a62633p-30;
    M far = nle(a, all(0x1p24));
    if (any(far)) {
        r = sel(far, farreduce(a, 0), r);
        q = bits(sel(far, farreduce(a, 2) + 0x1.8p52, t));
    }
"""

KERNELS_SHORT = """\
    F z = r * r;
    F v = all(1.0), s1 = (r * z) * POLY(z, sin_short), c1 = z * POLY(z, cos_short);
"""


def circular(name: str, choose: str, reduce: str, kernels: str) -> str:
    """Return the text of a function of the angle ``x``."""
    return f"static inline F {name}(F x)\n{{\n{reduce}{kernels}{choose}}}"


SINE = """\
    I sign = (bits(x) & ~POSITIVE) ^ ((q & 2) << 62);
    return real(bits(sel((M)((q & 1) != 0), v + c1, r + s1)) ^ sign);
"""
COSINE = "    return real(bits(sel((M)((q & 1) != 0), r + s1, v + c1)) ^ (((q + 1) & 2) << 62));\n"

# tan is one of sin / cos and -cos / sin of the reduced angle.
TANGENT = """\
    F sh = vm_fence(r + s1), sl = fastlow(sh, r, s1);
    F ch = vm_fence(v + c1), cl = fastlow(ch, v, c1);
    M turned = (M)((q & 1) != 0);
    F y = quotient(sel(turned, -ch, sh), sel(turned, -cl, sl),
                   sel(turned, sh, ch), sel(turned, sl, cl));
    return real(bits(y) ^ (bits(x) & ~POSITIVE));
"""
TANGENT_SHORT = """\
    F s = r + s1, c = v + c1;
    M turned = (M)((q & 1) != 0);
    F y = sel(turned, -c, s) / sel(turned, s, c);
    return real(bits(y) ^ (bits(x) & ~POSITIVE));
"""

# float32 in float32: three parts of pi / 2, good for n < 2**11 while r is not so small that their
# last bits tell. What is beyond goes through float64.
NATIVE = """\
    F a = fabs(x), t = vm_fence(a * 0x1.45f306p-1 + 0x1.8p23), n = vm_fence(t - 0x1.8p23);
    I q = bits(t);
    F u = vm_fence(vm_fence(a - n * 0x1.922p+0) - n * -0x1.28p-18), w = n * -0x1.777a5cp-25;
    F r = vm_fence(u - w), low = vm_fence(vm_fence(u - r) - w);
    M far = nle(a, all(0x1p11)) | (M)(fabs(r) < n * 0x1p-22);
    F z = r * r, s1 = (r * z) * POLY(z, sin_short) + low;
    F v = all(1.0), c1 = z * (-0.5 + z * POLY(z, cos_native));
"""
SINE_NATIVE = """\
    I sign = (bits(x) & ~POSITIVE) ^ ((q & 2) << 30);
    F y = real(bits(sel((M)((q & 1) != 0), v + c1, r + s1)) ^ sign);
    if (any(far)) y = sel(far, sinwide(x), y);
    return y;
"""
COSINE_NATIVE = """\
    F y = real(bits(sel((M)((q & 1) != 0), r + s1, v + c1)) ^ (((q + 1) & 2) << 30));
    if (any(far)) y = sel(far, coswide(x), y);
    return y;
"""

# In half turns: x = n / 2 + r exactly. Large numbers lose their whole turns first.
HALVES = """\
    F a = fabs(x);
    M large = nle(a, all(0x1p49));
    if (any(large)) {
        F b = a * 0.5, w = vm_fence(vm_fence(b + 0x1p52) - 0x1p52);
        w = sel((M)(b >= 0x1p52), b, w);
        a = sel(large, a - 2.0 * w, a);
    }
    F t = vm_fence(2.0 * a + 0x1.8p52), n = vm_fence(t - 0x1.8p52), d = a - 0.5 * n;
    I q = bits(t);
    F r = d * 0x1.921fb54442d18p+1;
"""
HALVES_LOW = """\
    F low = prodlow(r, d, all(0x1.921fb54442d18p+1)) + d * 0x1.1a62633145c07p-53;
    low = sel((M)(fabs(d) < 0x1p-900), all(0.0), low);
"""
SINE_OF_HALVES = """\
    F y = sel((M)((q & 1) != 0), v + c1, r + s1);
    I sign = (bits(x) & ~POSITIVE) ^ ((q & 2) << 62);
    return sel((M)(y == 0.0), copysign(y, x), real(bits(y) ^ sign));
"""
COSINE_OF_HALVES = """\
    F y = sel((M)((q & 1) != 0), r + s1, v + c1);
    return vm_fence(real(bits(y) ^ (((q + 1) & 2) << 62)) + 0.0);
"""

SOURCES = {
    ("farlane", "f64"): FAR,
    ("farreduce", "f64"): FARREDUCE,
    ("sin", "f64"): circular("sin", SINE, REDUCE, KERNELS),
    ("cos", "f64"): circular("cos", COSINE, REDUCE, KERNELS),
    ("sinwideshort", "f64"): circular("sinwideshort", SINE, REDUCE_SHORT, KERNELS_SHORT),
    ("coswideshort", "f64"): circular("coswideshort", COSINE, REDUCE_SHORT, KERNELS_SHORT),
    ("tan", "f64"): circular("tan", TANGENT, REDUCE, KERNELS),
    ("tanshort", "f64"): circular("tanshort", TANGENT_SHORT, REDUCE_SHORT, KERNELS_SHORT),
    ("sinpi", "f64"): circular("sinpi", SINE_OF_HALVES, HALVES + HALVES_LOW, KERNELS),
    ("cospi", "f64"): circular("cospi", COSINE_OF_HALVES, HALVES + HALVES_LOW, KERNELS),
    ("sinpishort", "f64"): circular("sinpishort", SINE_OF_HALVES, HALVES, KERNELS_SHORT),
    ("cospishort", "f64"): circular("cospishort", COSINE_OF_HALVES, HALVES, KERNELS_SHORT),
    ("sin", "f32"): circular("sin", SINE_NATIVE, NATIVE, ""),
    ("cos", "f32"): circular("cos", COSINE_NATIVE, NATIVE, ""),
}
