"""How symmetric a crystal is, and in how many directions it is connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.errors import Failure
from matinvent.properties.evaluator import PropertyInfo, Values, evaluate_each
from matinvent.screening.symmetry import SYMPREC, find_symmetry

if TYPE_CHECKING:
    from pymatgen.core import Structure

_SOURCE = "moyopy, atoms within 0.1 A counted as equivalent"


class CrystalSymmetry:
    """Space group, order of the point group, atoms of the primitive cell."""

    properties = (
        PropertyInfo(
            name="space_group_number",
            unit="1",
            description="International number of the space group.",
            bounds=(1.0, 230.0),
            cost="instant",
            needs=("relaxed structure",),
            source=_SOURCE,
        ),
        PropertyInfo(
            name="symmetry_order",
            unit="1",
            description="Number of operations of the point group: 1 for triclinic P1, 48 for cubic m-3m.",
            bounds=(1.0, 48.0),
            cost="instant",
            needs=("relaxed structure",),
            source=_SOURCE,
        ),
        PropertyInfo(
            name="cell_size",
            unit="1",
            description="Number of atoms in the primitive cell.",
            bounds=(1.0, 1e5),
            cost="instant",
            needs=("relaxed structure",),
            source=_SOURCE,
        ),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({"symprec": SYMPREC})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Symmetry of each crystal; a Failure ``no-symmetry`` for degenerate cells and overlapping atoms."""
        return evaluate_each(_symmetry, structures)


class Dimensionality:
    """In how many directions bonds run through the crystal: 0 molecules, 1 chains, 2 layers, 3 networks.

    Atoms are bonded up to k times the sum of their covalent radii; the answer is the dimensionality that holds over the
    widest range of k. Mixtures (a molecule in the pores of a network) count as their largest part's.
    """

    properties = (
        PropertyInfo(
            name="dimensionality",
            unit="1",
            description="Number of directions in which bonds run through the crystal.",
            bounds=(0.0, 3.0),
            cost="instant",
            needs=("relaxed structure",),
            source="Larsen et al., Phys. Rev. Materials 3, 034003 (2019), as in ASE",
        ),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Dimensionality of each crystal; a Failure ``no-bonds`` where all atoms are far apart."""
        return evaluate_each(_dimensionality, structures)


def _symmetry(structure: Structure) -> Values | Failure:
    import moyopy

    symmetry = find_symmetry(structure)
    if symmetry is None:
        return Failure("no-symmetry", "no space group could be found")
    # In a primitive cell every operation has a rotation of its own.
    operations = moyopy.operations_from_number(symmetry.number, primitive=True)
    return {
        "space_group_number": float(symmetry.number),
        "symmetry_order": float(len(operations)),
        "cell_size": float(symmetry.primitive_atoms),
    }


def _dimensionality(structure: Structure) -> Values | Failure:
    from ase.geometry.dimensionality import analyze_dimensionality
    from pymatgen.io.ase import AseAtomsAdaptor

    try:
        intervals = analyze_dimensionality(AseAtomsAdaptor.get_atoms(structure), method="RDA")
    except TypeError:  # ASE's answer to a crystal without a single bond
        return Failure("no-bonds", "all atoms are too far apart to be bonded")
    return {"dimensionality": float(max(int(digit) for digit in intervals[0].dimtype.rstrip("D")))}
