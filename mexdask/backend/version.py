"""The version of the code generators: a digest of their own sources, raised by every change."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

GENERATOR_SOURCES = (
    "ir.py", "irtext.py", "ops.py", "dtypes.py", "reductions.py", "backend/cabi.py",
    "backend/cdriver.py", "backend/cexpr.py", "backend/cprelude.py", "backend/creduce.py",
    "backend/cscalar.py", "backend/csimd.py", "backend/form.py", "backend/gangs.py",
    "backend/integers.py", "backend/lanes.py", "backend/layout.py",
    "backend/vectors.py", "backend/liveness.py", "backend/lockstep.py",
    "backend/predicate.py", "backend/rewrite.py", "backend/sharing.py", "runtime/dispatch.py",
    "backend/vmath/abreast.py", "backend/vmath/instance.py", "backend/vmath/primitives.py",
    "backend/vmath/coefficients.py",
    "backend/vmath/exponential.py", "backend/vmath/inverse.py", "backend/vmath/logarithm.py",
    "backend/vmath/power.py", "backend/vmath/remainder.py", "backend/vmath/special.py",
    "backend/vmath/trigonometric.py",
)  # fmt: skip


def digest_of_sources() -> str:
    """Return the digest of everything that decides which C a function becomes."""
    package = sys.modules["mexdask"]
    assert package.__spec__ is not None
    loader: Any = package.__spec__.loader  # which may read from a zip file
    digest = hashlib.sha256()
    for name in GENERATOR_SOURCES:
        digest.update(loader.get_data(os.path.join(package.__path__[0], name)))
    return digest.hexdigest()


# At the import, when the files are still those that this process runs.
GENERATOR_VERSION = digest_of_sources()
