"""Kernels with divergent loops as users bring them, for ``suite.py``: their texts and their C."""

BURNING_SHIP = """\
def burning_ship(re, im, max_iter):
    x = re
    y = im
    count = 0
    for step in range(max_iter):
        count = step
        if x * x + y * y > 4.0:
            break
        t = x * x - y * y + re
        y = abs(2.0 * x * y) + im
        x = t
    return count
"""

BURNING_SHIP_C = """\
R x = re, y = im;
i64 count = 0;
for (i64 step = 0; step < max_iter; ++step) {
    count = step;
    if (x * x + y * y > 4) break;
    R t = x * x - y * y + re;
    y = M(fabs)(2 * x * y) + im;
    x = t;
}
return count;
"""

BISECTION = """\
def bisection(p, q):
    low = -8.0 * (1.0 + abs(q))
    high = -low
    middle = low
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        if middle == low or middle == high:
            break
        f = (middle * middle + p) * middle + q
        if f == 0.0:
            break
        if f > 0.0:
            high = middle
        else:
            low = middle
    return middle
"""

BISECTION_C = """\
R low = -8 * (1 + M(fabs)(q)), high = -low, middle = low;
while (high - low > (R)1e-4) {
    middle = (R)0.5 * (low + high);
    if (middle == low || middle == high) break;
    R f = (middle * middle + p) * middle + q;
    if (f == 0) break;
    if (f > 0) high = middle; else low = middle;
}
return middle;
"""

MEAN = """\
def mean_of_means(x, y):
    a = x
    b = y
    for k in range(60):
        if abs(a - b) <= 1e-6 * a:
            break
        m = 0.5 * (a + b)
        b = sqrt(a * b)
        a = m
    return a
"""

MEAN_C = """\
R a = x, b = y;
for (int k = 0; k < 60; ++k) {
    if (M(fabs)(a - b) <= (R)1e-6 * a) break;
    R m = (R)0.5 * (a + b);
    b = M(sqrt)(a * b);
    a = m;
}
return a;
"""

MARCH = """\
def march(u, v):
    depth = 0.0
    for k in range(96):
        x = u * depth
        y = v * depth
        z = depth - 3.0
        ball = sqrt(x * x + y * y + z * z) - 1.0
        floor_distance = y + 1.2
        distance = ball
        if floor_distance < ball:
            distance = floor_distance
        if distance < 1e-3:
            return depth
        depth = depth + distance
        if depth > 30.0:
            return -1.0
    return depth
"""

MARCH_C = """\
R depth = 0;
for (int k = 0; k < 96; ++k) {
    R x = u * depth, y = v * depth, z = depth - 3;
    R ball = M(sqrt)(x * x + y * y + z * z) - 1, ground = y + (R)1.2;
    R distance = ground < ball ? ground : ball;
    if (distance < (R)1e-3) return depth;
    depth = depth + distance;
    if (depth > 30) return -1;
}
return depth;
"""

KEPLER = """\
def kepler(m, e):
    x = m
    for k in range(50):
        change = (x - e * sin(x) - m) / (1.0 - e * cos(x))
        x = x - change
        if abs(change) < 1e-5:
            break
    return x
"""

KEPLER_C = """\
R x = m;
for (int k = 0; k < 50; ++k) {
    R change = (x - e * M(sin)(x) - m) / (1 - e * M(cos)(x));
    x = x - change;
    if (M(fabs)(change) < (R)1e-5) break;
}
return x;
"""

DRIFTER = """\
def drifter(x, y):
    steps = 0
    while steps < 400:
        speed = min(max(4.0 * y * (1.0 - y), 0.05), 0.9)
        x = (x + 0.1 * speed) % 1.0
        y = (y + 0.03 * (x - 0.45)) % 1.0
        if (x - 0.5) * (x - 0.5) + (y - 0.5) * (y - 0.5) < 0.001:
            break
        steps += 1
    return x
"""

DRIFTER_C = """\
for (int steps = 0; steps < 400; ++steps) {
    R speed = 4 * y * (1 - y);
    speed = speed > (R)0.05 ? speed : (R)0.05;
    speed = speed < (R)0.9 ? speed : (R)0.9;
    x = M(fmod)(x + (R)0.1 * speed, 1);
    y = M(fmod)(y + (R)0.03 * (x - (R)0.45), 1);
    if (y < 0) y += 1;
    if ((x - (R)0.5) * (x - (R)0.5) + (y - (R)0.5) * (y - (R)0.5) < (R)0.001) break;
}
return x;
"""
