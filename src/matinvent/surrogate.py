"""Surrogates: random forests (Breiman, Mach. Learn. 45, 5 (2001)), and what they see of a crystal.

They are grown anew in every iteration, in about a second of one core, and learn from some dozen crystals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from matinvent.screening.symmetry import find_symmetry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure
    from sklearn.ensemble import RandomForestRegressor

_HEAVIEST = 94


@dataclass(frozen=True, slots=True)
class Growth:
    """How a forest grows.

    Attributes:
        trees: number of trees.
        split: features that a split may choose from: a share of all, or their square root.
        leaf: smallest number of crystals in a leaf; a larger one averages over more.
    """

    trees: int
    split: float | Literal["sqrt"]
    leaf: int = 1


def grow_forest(
    rows: Sequence[NDArray[np.float64]], targets: Sequence[float], growth: Growth, rng: np.random.Generator
) -> RandomForestRegressor:
    """A random forest of features and what is to be predicted from them."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        growth.trees,
        max_features=growth.split,
        min_samples_leaf=growth.leaf,
        random_state=int(rng.integers(2**31)),
    )
    return forest.fit(np.stack(rows), list(targets))


def features_of_composition(crystal: Structure | None) -> NDArray[np.float64] | None:
    """Statistics of the elements, and the number of atoms; None of what cannot be described."""
    from matinvent.predictors.composition import composition_features

    if crystal is None or not crystal.is_ordered or not len(crystal):
        return None
    numbers = np.array([getattr(site.specie, "Z", 0) for site in crystal])
    if numbers.min() < 1 or numbers.max() > _HEAVIEST:
        return None
    return np.nan_to_num(np.array([*composition_features(numbers), len(crystal)]))


def features_with_volume(crystal: Structure | None) -> NDArray[np.float64] | None:
    """Those of the composition, and the volume per atom."""
    features = features_of_composition(crystal)
    if crystal is None or features is None:
        return None
    return np.array([*features, crystal.volume / len(crystal)])


def features_of_cell(crystal: Structure | None) -> NDArray[np.float64] | None:
    """Space group; edges in order, angles, faces and volume of the conventional cell; volume per atom."""
    from pymatgen.core import Lattice

    if crystal is None or not crystal.is_ordered or not len(crystal):
        return None
    symmetry = find_symmetry(crystal)
    if symmetry is None:
        return None
    cell = Lattice(symmetry.conventional_cell)
    a, b, c = sorted(cell.abc)
    volume = crystal.volume / len(crystal)
    return np.array([symmetry.number, a, b, c, *cell.angles, a * b, a * c, b * c, cell.volume, volume])
