"""Is a generated crystal possible at all? Cheap geometry and charge checks, before any energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.neighbors import Crystal, cell_defect, find_neighbors
from matinvent.screening.relaxation import read_crystal

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

    from matinvent.config_screening import ValidityConfig

#: Distance (A) within which atoms count as translations of each other.
_SYMPREC = 0.05

#: The search for balanced charges grows exponentially with the elements; ten take a second.
_MOST_ELEMENTS = 9


def check_validity(structure: Structure, config: ValidityConfig) -> Failure | None:
    """Why a crystal is impossible, or None when it passes.

    Kinds: ``disordered``, ``unknown-element``, ``empty``, ``not-finite``, ``volume``, ``length``, ``flat-cell``,
    ``too-dense``, ``overlap``, ``smact`` (no charge-neutral combination of oxidation states in
    which the more electronegative elements are the anions; elements and alloys pass; Davies et al.,
    Chem 1, 617, 2016).
    """
    crystal = read_crystal(structure)
    if isinstance(crystal, Failure):
        return crystal
    return check_geometry(crystal, config) or (check_charges(structure.composition) if config.smact else None)


def check_geometry(crystal: Crystal, config: ValidityConfig) -> Failure | None:
    """Why the cell or the distances are impossible, or None when they pass."""
    defect = cell_defect(crystal)
    if np.isfinite(crystal.lattice).all():
        longest = float(np.linalg.norm(crystal.lattice, axis=1).max())
        if crystal.volume <= config.min_volume:
            return Failure("volume", f"cell volume {crystal.volume:.3g} A^3 is not above {config.min_volume:g} A^3")
        if longest >= config.max_length and defect is None:
            longest = min(longest, _primitive_edge(crystal))
        if longest >= config.max_length:
            return Failure("length", f"cell edge of {longest:.1f} A is not below {config.max_length:g} A")
    if defect is not None:
        return defect
    close = find_neighbors(crystal, config.min_distance)
    if len(close.distance) > 0:
        return Failure("overlap", f"two atoms are {close.distance.min():.2f} A apart (limit {config.min_distance:g} A)")
    return None


def _primitive_edge(crystal: Crystal) -> float:
    """The longest edge of the reduced primitive cell (A); infinite where none is found.

    What is possible must not depend on how it is drawn: a supercell is as long as one likes.
    """
    import moyopy
    from pymatgen.core import Lattice

    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac.tolist(), crystal.numbers.tolist())
    try:
        primitive = moyopy.MoyoDataset(cell, symprec=_SYMPREC).prim_std_cell
    except (ValueError, OverflowError):  # atoms that coincide, for one
        return float("inf")
    return float(max(Lattice(primitive.basis).get_niggli_reduced_lattice().abc))


def check_charges(composition: Composition, alloys: bool = True) -> Failure | None:
    """A Failure ``smact`` when no oxidation states balance (SMACT), else None.

    Args:
        composition: elements and their numbers.
        alloys: let mixtures of metals pass without looking at their charges.
    """
    from smact.screening import smact_validity

    formula = composition.reduced_formula
    if len(composition) > _MOST_ELEMENTS:
        return Failure("smact", f"{formula} has more than {_MOST_ELEMENTS} elements")
    try:
        balanced = bool(smact_validity(composition.element_composition, include_alloys=alloys))
    except (KeyError, NameError, ValueError, TypeError) as error:  # how SMACT says that it lacks data
        return Failure("smact", f"no oxidation states are known for {formula} ({type(error).__name__})")
    return None if balanced else Failure("smact", f"no oxidation states balance the charges of {formula}")
