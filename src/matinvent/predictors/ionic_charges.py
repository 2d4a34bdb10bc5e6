"""Formal charges of the ions in a crystal, from its composition alone."""

from __future__ import annotations

from functools import cache
from itertools import islice, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What a charge that is left over costs, per atom, against how well the states follow electronegativity.
_IMBALANCE = 3.0

#: Electronegativity of the noble gases that have none in the table.
_INERT = 1.8

#: Crystals of many elements with many states: no more combinations than this are tried.
_MAX_COMBINATIONS = 20_000


def formal_charges(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Oxidation state of each atom, shape (N,); their sum is zero.

    Every element takes one of its common states: those that leave little charge over and make the electropositive
    elements positive. What is left over is spread over the ions (magnetite: Fe 2.67 as it should be). A crystal of one
    element has no ions.
    """
    present, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    if len(present) == 1:
        return np.zeros(len(numbers))
    elements = [_element(int(z)) for z in present]
    shares = counts / counts.sum()
    electronegativity = np.array([pull for _, pull in elements])
    ways = np.array(list(islice(product(*(states for states, _ in elements)), _MAX_COMBINATIONS)))
    left = ways @ shares
    aligned = ways @ (shares * (shares @ electronegativity - electronegativity))
    strength = np.sqrt(ways**2 @ shares + 1e-9)
    best = ways[np.argmin(_IMBALANCE * np.abs(left) - aligned / strength)]
    magnitudes = np.abs(best)
    if magnitudes.any():
        best = best - (shares @ best) * magnitudes / (shares @ magnitudes)
    return best[inverse]


@cache
def _element(z: int) -> tuple[tuple[int, ...], float]:
    """Common oxidation states of an element, or all that are known, or zero; and its electronegativity."""
    import warnings

    from pymatgen.core import Element

    element = Element.from_Z(z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of elements without electronegativity
        pull = float(element.X)
    states = element.common_oxidation_states or element.oxidation_states or (0,)
    return tuple(sorted(set(states))), pull if np.isfinite(pull) else _INERT
