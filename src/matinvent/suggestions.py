"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(
    name: str, known: Iterable[str], n: int = 1, cutoff: float = 0.6, listed: Iterable[str] | None = None
) -> str:
    """``did you mean 'density'?``, or, where nothing is near, what there is.

    Args:
        name: what was given.
        known: what could be meant; equal but for upper and lower case is nearest.
        n: how many are told at most.
        cutoff: how near they are at least, as of :func:`difflib.get_close_matches`.
        listed: what is told where nothing is near; None: all.
    """
    names = list(known)
    alike = [one for one in names if one.lower() == name.lower()]
    near = alike or difflib.get_close_matches(name, names, n=n, cutoff=cutoff)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"known: {', '.join(names if listed is None else listed)}"
