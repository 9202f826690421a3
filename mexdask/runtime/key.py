"""The cache key: all that changes machine code, and nothing that does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mexdask.runtime.target import Target

TARGET_FIELDS = tuple(f.name for f in fields(Target))


def canonical(value: object) -> bytes:
    """Return the one JSON text of a value; it tells 1 from true and from 1.0."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Names one piece of machine code in every cache.

    Parameters
    ----------
    dsl_hash : str
        Digest of the normalised source and of the code generator.
    dtypes : tuple of str
        Names of the types of inputs, scalars and outputs, in order.
    ndim : str
        Dimensionality and version of the linearisation.
    target : Target
        What the code is made for.

    Attributes
    ----------
    digest : str
        SHA-256 of the key's canonical JSON, in hexadecimal.
    """

    dsl_hash: str
    dtypes: tuple[str, ...]
    ndim: str
    target: Target
    digest: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(canonical(self.record())).hexdigest()
        object.__setattr__(self, "digest", digest)

    @property
    def symbol(self) -> str:
        """Return the name of the entry in the shared object."""
        return f"me_k_{self.digest[:16]}"

    def record(self) -> dict[str, object]:
        """Return the key as fields of JSON: strings, integers and lists of strings."""
        own = {"dsl_hash": self.dsl_hash, "dtypes": list(self.dtypes), "ndim": self.ndim}
        target = {name: getattr(self.target, name) for name in TARGET_FIELDS}
        return own | target | {"flags": list(self.target.flags)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> CacheKey:
        """Return the key whose fields a record has; what it lacks is a `KeyError`."""
        target = {name: record[name] for name in TARGET_FIELDS}
        target["flags"] = tuple(record["flags"])
        return cls(record["dsl_hash"], tuple(record["dtypes"]), record["ndim"], Target(**target))
