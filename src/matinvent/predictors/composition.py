"""What a composition tells before any structure: statistics of its elements' properties, and of its charges."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.screening.stability import symbol

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Properties of an element, as attributes of pymatgen's Element; radii in A, temperatures in K, the rest as it comes.
_PLAIN = (
    "Z",
    "X",
    "row",
    "group",
    "mendeleev_no",
    "atomic_mass",
    "atomic_radius",
    "average_ionic_radius",
    "ionization_energy",
    "electron_affinity",
    "melting_point",
    "molar_volume",
    "min_oxidation_state",
    "max_oxidation_state",
)
_SHELLS = ("s", "p", "d", "f")
_KINDS = ("is_metal", "is_transition_metal", "is_rare_earth", "is_chalcogen", "is_halogen", "is_metalloid")

#: Names of the columns of :func:`_table`.
_PROPERTIES = (
    *_PLAIN,
    *(f"valence_{shell}" for shell in _SHELLS),
    *(f"empty_{shell}" for shell in _SHELLS),
    *_KINDS,
)
_STATISTICS = ("mean", "spread", "least", "most")
_CHARGES = ("excess_charge", "neutral_ways", "ionicity", "oxidation_spread")

_HEAVIEST = 94
_CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}

#: Elements with more common oxidation states than this times others make too many combinations; the rest is dropped.
_MAX_COMBINATIONS = 20_000


def composition_names() -> list[str]:
    """Names of the features of :func:`composition_features`."""
    return [
        *(f"{name}_{statistic}" for name in _PROPERTIES for statistic in _STATISTICS),
        "elements",
        "entropy",
        "largest_share",
        *_CHARGES,
        *(f"share_{symbol(z)}" for z in range(1, _HEAVIEST + 1)),
    ]


def composition_features(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Features of the atoms with atomic numbers 1..94, shape (N,), that depend on their proportions only."""
    counts = np.bincount(numbers, minlength=_HEAVIEST + 1)[: _HEAVIEST + 1]
    present = np.flatnonzero(counts)
    shares = counts[present] / counts.sum()
    rows = _table()[present]
    mean = shares @ rows
    spread = np.sqrt(np.maximum(shares @ (rows - mean) ** 2, 0.0))
    statistics = np.stack([mean, spread, rows.min(axis=0), rows.max(axis=0)], axis=1).ravel()
    order = [len(present), -(shares * np.log(shares)).sum(), shares.max()]
    every = np.zeros(_HEAVIEST)
    every[present - 1] = shares
    return np.concatenate([statistics, order, _charges(present, shares), every])


def _charges(present: NDArray[np.int64], shares: NDArray[np.float64]) -> list[float]:
    """How well common oxidation states balance.

    Smallest charge per atom that is left when each element takes one of its states, the logarithm of the number of ways
    to leave none, the spread of electronegativity, and the smallest spread of the states that balance best.
    """
    electronegativity = _table()[present, _PROPERTIES.index("X")]
    ionicity = float(np.sqrt(shares @ (electronegativity - shares @ electronegativity) ** 2))
    total, squares = np.zeros(1), np.zeros(1)
    for z, share in zip(present.tolist(), shares, strict=True):
        states = _states(z)
        if total.size * states.size > _MAX_COMBINATIONS:
            break
        total = (total[:, None] + share * states).ravel()
        squares = (squares[:, None] + share * states**2).ravel()
    left = np.abs(total)
    best = left < left.min() + 1e-6
    neutral = int((left < 1e-6).sum())
    return [float(left.min()), float(np.log1p(neutral)), ionicity, float(np.sqrt(squares[best].min()))]


@cache
def _states(z: int) -> NDArray[np.float64]:
    """Common oxidation states of an element; zero alone where none are known."""
    from pymatgen.core import Element

    states = Element.from_Z(z).common_oxidation_states
    return np.array(sorted(states) or [0], dtype=np.float64)


@cache
def _table() -> NDArray[np.float64]:
    """Properties of the elements, row = atomic number, shape (95, P); unknown values are the mean over the elements."""
    from pymatgen.core import Element

    table = np.full((_HEAVIEST + 1, len(_PROPERTIES)), np.nan)
    for z in range(1, _HEAVIEST + 1):
        element = Element.from_Z(z)
        valence = _valence(element)
        empty = [(_CAPACITY[shell] - n) if n else 0 for shell, n in zip(_SHELLS, valence, strict=True)]
        kinds = [float(getattr(element, kind)) for kind in _KINDS]
        table[z] = [*(_number(element, name) for name in _PLAIN), *valence, *empty, *kinds]
    means = np.nanmean(table[1:], axis=0)
    return np.where(np.isnan(table), means, table)


def _number(element: Any, name: str) -> float:
    """A property of an element as a number, NaN where pymatgen has none."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of every gap in its table
        value = getattr(element, name)
    return float("nan") if value is None else float(value)


def _valence(element: Any) -> list[int]:
    """Electrons in the outermost s and p shells and in the d and f shells that are not closed below them."""
    counts = dict.fromkeys(_SHELLS, 0)
    outermost = max(n for n, _, _ in element.full_electronic_structure)
    for n, shell, electrons in element.full_electronic_structure:
        inner = {"s": 0, "p": 0, "d": 1, "f": 2}[shell]
        if n == outermost - inner:
            counts[shell] = electrons
    return list(counts.values())
