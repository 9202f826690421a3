"""What is known of the locals at a point: their types, and how they join where paths meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from mexdask.dtypes import Type, held, join, type_name


class Missing(Enum):
    """Why a name has no type at a point."""

    MAYBE = "unassigned on some path"
    BROKEN = "its assignment has been complained about"


State = Type | Missing
Env = dict[str, State]


@dataclass
class Assumed:
    """What is assumed about a point that is reached later, and what was then found there."""

    types: Env | None = None
    found: list[Env] = field(default_factory=list)


@dataclass
class LoopFrame:
    """The loop around the statement in hand."""

    entry: Env
    head: Env
    exit: Assumed
    back: Assumed


def conversions(source: Env, target: Env) -> Iterator[tuple[str, Type, Type]]:
    """Yield the names that one state holds in another dtype than the other, with both types."""
    for name, t in target.items():
        now = source.get(name, Missing.MAYBE)
        if now is t or isinstance(t, Missing) or isinstance(now, Missing) or held(t) == held(now):
            continue
        yield name, now, t


def spelt_out(env: Env | None) -> dict[str, object] | None:
    """Return a state that compares right: ``np.dtype("int64") == int`` holds, and must not."""
    if env is None:
        return None
    return {n: t if isinstance(t, Missing) else type_name(t) for n, t in env.items()}


def join_envs(envs: list[Env]) -> Env | None:
    """Return the state where paths with these states meet; None where no path arrives."""
    if not envs:
        return None
    first, *others = envs
    joined = dict(first)
    differing: dict[str, None] = {}
    for env in others:
        differing |= {n: None for n, t in env.items() if first.get(n, Missing.MAYBE) is not t}
        differing |= dict.fromkeys(first.keys() - env.keys())  # they stand in ``joined`` already
    for name in differing:
        joined[name] = join_states([env.get(name, Missing.MAYBE) for env in envs])
    return joined


def join_states(states: list[State]) -> State:
    """Return the state of one name where paths meet."""
    first = states[0]
    if all(s is first for s in states):
        return first
    for missing in (Missing.BROKEN, Missing.MAYBE):
        if any(s is missing for s in states):  # comparing dtypes with other things is slow
            return missing
    return join(*(s for s in states if not isinstance(s, Missing)))
