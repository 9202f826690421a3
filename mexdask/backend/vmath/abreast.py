"""Vector math on several vectors at once: each step for all of them before the next step.

A processor looks only so far ahead for work that does not wait: further than one function's chain
of steps, not as far as four of them one after the other.
"""

from __future__ import annotations

import re

STATEMENT = re.compile(r"^    (?! |\}).*(?:\n(?:     .*|    \}))*", re.MULTILINE)
DECLARED = re.compile(r"(?:[fiu]\d+x\d+|,) ([a-z]\w*)(?= =|,|;)")
HEAD = re.compile(r"static (inline|.*noinline.*\)) (\w+) (vm_\w+)\((.*?)\)")


def abreast(definition: str, count: int) -> str:
    """Return the C function that computes what another one does, of ``count`` vectors.

    Parameters
    ----------
    definition : str
        Of a function whose statements stand in lines of their own, with one return, at the end.
    count : int
        Vectors.

    Returns
    -------
    str
        A function of pointers to its results followed by all vectors of each parameter.
    """
    head = HEAD.match(definition)
    assert head is not None
    how, kind, name, declared = head.groups()
    parameters = [parameter.split()[-1] for parameter in declared.split(", ")]
    statements = STATEMENT.findall(definition)
    names = {*parameters, *(n for s in statements for n in DECLARED.findall(s))}
    own = re.compile(rf"\b({'|'.join(sorted(names))})\b(?!\()")
    ways = range(count)
    lines = [
        own.sub(rf"\1_{way}", statement).replace("    return ", f"    *to{way} = ", 1)
        for statement in statements
        for way in ways
    ]
    takes = [f"{kind} *to{way}" for way in ways]
    takes += [f"{kind} {parameter}_{way}" for parameter in parameters for way in ways]
    how = "inline" if how == "inline" else "__attribute__((noinline))"
    return "\n".join([f"static {how} void {name}_{count}({', '.join(takes)})", "{", *lines, "}"])
