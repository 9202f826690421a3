"""What the functions are made of: bits, selection, tests of lanes; exact sums and products."""

from __future__ import annotations

FENCE = """\
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#if defined(__has_builtin) && __has_builtin(__builtin_assoc_barrier)
#define vm_fence(x) __builtin_assoc_barrier(x)
#else
#define vm_fence(x) ({ __typeof__(x) vm_t = (x); __asm__("" : "+m"(vm_t)); vm_t; })
#endif
#else
#define vm_fence(x) (x)
#endif
"""
"""Keeps ``fp=fast`` from reassociating what is right only in the order that is written."""

SCALAR = {
    "bits": "static inline I bits(F x) { I i; __builtin_memcpy(&i, &x, sizeof i); return i; }",
    "real": "static inline F real(I i) { F x; __builtin_memcpy(&x, &i, sizeof x); return x; }",
    "sel": "static inline F sel(M m, F a, F b) { return m ? a : b; }",
    "any": "static inline int any(M m) { return m != 0; }",
    "nle": "static inline M nle(F a, F b) { return !(a <= b); }",
    "nlt": "static inline M nlt(F a, F b) { return !(a < b); }",
    "sqrt": "static inline F sqrt(F x) { return ROOT(x); }",
}
"""Primitives of one lane, where a mask is 0 or 1."""

VECTOR = {
    "bits": "static inline I bits(F x) { return (I)x; }",
    "real": "static inline F real(I i) { return (F)i; }",
    "sel": """\
static inline F sel(M m, F a, F b) { return (F)((m & (I)a) | (~m & (I)b)); }""",
    "nle": "static inline M nle(F a, F b) { return ~(M)(a <= b); }",
    "nlt": "static inline M nlt(F a, F b) { return ~(M)(a < b); }",
    "sqrt": """\
static inline F sqrt(F x)
{
    S y[LANES];
    F r;
    __builtin_memcpy(y, &x, sizeof y);
    for (int l = 0; l < LANES; ++l) y[l] = ROOT(y[l]);
    __builtin_memcpy(&r, y, sizeof r);
    return r;
}""",
}
"""Primitives of more lanes, where a mask is 0 or -1 in each; ``any`` depends on the machine."""

COMMON = {
    "all": "static inline F all(S x) { return x - (F){0}; }",
    "fabs": "static inline F fabs(F x) { return real(bits(x) & POSITIVE); }",
    "copysign": """\
static inline F copysign(F x, F s)
{
    return real((bits(x) & POSITIVE) | (bits(s) & ~POSITIVE));
}""",
    # Dekker (1971): the rounding error of a + b where |a| >= |b|.
    "fastlow": "static inline F fastlow(F s, F a, F b) { return vm_fence(b - vm_fence(s - a)); }",
    # Knuth (1969): the rounding error of s = a + b.
    "sumlow": """\
static inline F sumlow(F s, F a, F b)
{
    F t = vm_fence(s - a);
    return vm_fence(vm_fence(a - vm_fence(s - t)) + vm_fence(b - t));
}""",
    # The quotient of two sums n + nl and d + dl, nearly correctly rounded; one division.
    "quotient": """\
static inline F quotient(F n, F nl, F d, F dl)
{
    F inverse = 1.0 / d, q = n * inverse, p = q * d;
    return q + ((vm_fence(vm_fence(n - p) - prodlow(p, q, d)) + (nl - q * dl)) * inverse);
}""",
    # The upper half of the bits: products of two of them are exact.
    "upper": "static inline F upper(F x) { return real(bits(x) & UPPER); }",
    # Dekker (1971): the rounding error of p = a * b, by products of halves.
    "prodlow": """\
static inline F prodlow(F p, F a, F b)
{
    F ah = upper(a), al = a - ah, bh = upper(b), bl = b - bh;
    return vm_fence(vm_fence(vm_fence(vm_fence(ah * bh) - p) + ah * bl) + al * bh) + al * bl;
}""",
    # x - n * y where that is a float: then either way is exact.
    "residual": """\
static inline F residual(F x, F n, F y)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    S a[LANES], b[LANES], c[LANES];
    F r;
    __builtin_memcpy(a, &x, sizeof x);
    __builtin_memcpy(b, &n, sizeof n);
    __builtin_memcpy(c, &y, sizeof y);
    for (int l = 0; l < LANES; ++l) a[l] = FUSED(-b[l], c[l], a[l]);
    __builtin_memcpy(&r, a, sizeof r);
    return r;
#else
    F p = n * y;
    return vm_fence(vm_fence(x - p) - prodlow(p, n, y));
#endif
}""",
}


def any_test(head: str, size: int) -> str:
    """Return a function that tells whether a mask ``m`` of ``size`` bytes has a bit set."""
    machine = {
        64: ("__AVX512F__", "__builtin_ia32_ptestmq512(q, q, -1)"),
        32: ("__AVX__", "!__builtin_ia32_ptestz256(q, q)"),
        16: ("__SSE4_1__", "!__builtin_ia32_ptestz128(q, q)"),
    }
    portable = (
        "    u64 q[sizeof m / 8], r = 0;\n"
        "    __builtin_memcpy(q, &m, sizeof m);\n"
        "    for (unsigned k = 0; k < sizeof m / 8; ++k) r |= q[k];\n"
        "    return r != 0;\n"
    )
    if size not in machine:
        return f"{head}\n{{\n{portable}}}"
    feature, test = machine[size]
    return (
        f"{head}\n{{\n#if defined({feature}) && !defined(__clang__)\n"
        f"    typedef long long v __attribute__((vector_size({size})));\n"
        f"    v q = (v)m;\n    return {test};\n#else\n{portable}#endif\n}}"
    )


def widen(count: int) -> str:
    """Return the function from float32 to float64; GCC 12 makes four instructions of it alone."""
    if count == 1:
        return "static inline f64 vm_widen_f32(f32 x) { return x; }"
    machine = {
        8: ("__AVX512F__", "__builtin_ia32_cvtps2pd512_mask(x, (f64x8){0}, -1, 4)"),
        4: ("__AVX__", "__builtin_ia32_cvtps2pd256(x)"),
    }
    plain = f"    return __builtin_convertvector(x, f64x{count});\n"
    head = f"static inline f64x{count} vm_widen_f32x{count}(f32x{count} x)\n{{\n"
    if count not in machine:
        return f"{head}{plain}}}"
    feature, direct = machine[count]
    return (
        f"{head}#if defined({feature}) && !defined(__clang__)\n    return {direct};\n"
        f"#else\n{plain}#endif\n}}"
    )
