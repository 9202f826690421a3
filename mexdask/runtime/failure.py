"""Expected bad outcomes as values: their classes, and how long each is believed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from enum import StrEnum


class FailureClass(StrEnum):
    """Why there is no native code for a key here and now."""

    UNSUPPORTED = "unsupported"
    TOO_BIG = "too-big"
    CC_ERROR = "cc-error"
    CC_ICE = "cc-ice"
    BAD_OBJECT = "bad-object"
    BAD_SYMBOL = "bad-symbol"
    NO_CC = "no-cc"
    CC_TIMEOUT = "cc-timeout"
    IO = "io"
    LOCK_WAIT = "lock-wait"
    CACHE_DIR = "cache-dir"
    KILLED = "killed"
    BAD_FLAGS = "bad-flags"
    DISABLED = "disabled"
    UNSUPPORTED_PLATFORM = "unsupported-platform"


@dataclass(frozen=True, slots=True)
class Failure:
    """An expected bad outcome, kept in the negative cache; never raised.

    Parameters
    ----------
    kind : FailureClass
        Decides how long the failure is believed.
    message : str
        What happened, for the user to read.
    at : float
        When it happened, on the monotonic clock.
    """

    kind: FailureClass
    message: str
    at: float = field(default_factory=time.monotonic, compare=False)


FOR_EVER = (math.inf,)
SLOWING = (5.0, 10.0, 20.0, 40.0, 60.0)
UNTIL_CHANGED = (10.0, 60.0, 600.0)
COOLDOWNS: dict[FailureClass, tuple[float, ...]] = {
    FailureClass.UNSUPPORTED: FOR_EVER,
    FailureClass.TOO_BIG: FOR_EVER,
    FailureClass.BAD_FLAGS: FOR_EVER,
    FailureClass.DISABLED: FOR_EVER,
    FailureClass.UNSUPPORTED_PLATFORM: FOR_EVER,
    FailureClass.CC_ERROR: UNTIL_CHANGED,
    FailureClass.CC_ICE: UNTIL_CHANGED,
    FailureClass.BAD_OBJECT: UNTIL_CHANGED,
    FailureClass.BAD_SYMBOL: UNTIL_CHANGED,
    FailureClass.NO_CC: (60.0,),
    FailureClass.CC_TIMEOUT: (120.0, 3600.0),
    FailureClass.IO: SLOWING,
    FailureClass.LOCK_WAIT: SLOWING,
    FailureClass.CACHE_DIR: SLOWING,
    FailureClass.KILLED: (30.0,),
}


def cooldown(kind: FailureClass, consecutive: int, jitter: float = 0.0) -> float:
    """Return for how many seconds a failure is believed before the next try.

    Parameters
    ----------
    kind : FailureClass
        The class of the failure.
    consecutive : int
        How many times in a row, this one included, the same thing has failed.
    jitter : float
        Fraction of the time to add, so that a thousand workers do not retry at once.
    """
    steps = COOLDOWNS[kind]
    return steps[min(max(consecutive, 1), len(steps)) - 1] * (1.0 + jitter)


def io_failure(error: OSError, doing: str) -> Failure:
    """Return what an error of the operating system means for a kernel."""
    return Failure(FailureClass.IO, f"{doing}: {error}")
