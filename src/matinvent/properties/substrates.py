"""Substrates that films are grown on: their lattices at room temperature, or the user's own from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from matinvent.errors import ConfigError, Failure
from matinvent.properties.evaluator import structure_defect
from matinvent.screening.symmetry import SYMPREC
from matinvent.suggestions import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure


class Cell(NamedTuple):
    """The conventional cell of a crystal.

    Attributes:
        lattice: (3, 3) lattice vectors as rows (A).
        primitive: (3, 3) vectors of a primitive cell in units of the conventional ones, as rows.
    """

    lattice: NDArray[np.float64]
    primitive: NDArray[np.float64]


class _Named(NamedTuple):
    """Lengths (A), third angle (degrees; the others are 90) and centring of a conventional cell."""

    a: float
    c: float
    gamma: float
    centring: str


#: Lattice parameters at 300 K. Si, Ge, GaAs, InP, AlN, GaN, SiC: Ioffe Institute, database of semiconductors. Al2O3
#: (sapphire): Lucht et al., J. Appl. Cryst. 36, 1075 (2003). SiO2 (alpha quartz): Levien et al., Am. Mineral. 65, 920
#: (1980). MgO, SrTiO3, C (diamond): CRC Handbook of Chemistry and Physics. SiC is the polytype 4H.
_NAMED = {
    "Si": _Named(5.4310, 5.4310, 90.0, "F"),
    "Ge": _Named(5.6579, 5.6579, 90.0, "F"),
    "GaAs": _Named(5.6533, 5.6533, 90.0, "F"),
    "InP": _Named(5.8687, 5.8687, 90.0, "F"),
    "AlN": _Named(3.112, 4.982, 120.0, "P"),
    "GaN": _Named(3.189, 5.186, 120.0, "P"),
    "SiC": _Named(3.0730, 10.053, 120.0, "P"),
    "SiC-6H": _Named(3.0806, 15.1173, 120.0, "P"),
    "SiC-3C": _Named(4.3596, 4.3596, 90.0, "F"),
    "Al2O3": _Named(4.7593, 12.9918, 120.0, "R"),
    "SiO2": _Named(4.916, 5.4054, 120.0, "P"),
    "MgO": _Named(4.212, 4.212, 90.0, "F"),
    "SrTiO3": _Named(3.905, 3.905, 90.0, "P"),
    "C": _Named(3.567, 3.567, 90.0, "F"),
}

_PRIMITIVE = {
    "P": np.eye(3),
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


def substrate_names() -> list[str]:
    """Names that :func:`load_substrate` knows."""
    return list(_NAMED)


def load_substrate(name: str) -> Cell:
    """The conventional cell of a substrate.

    Args:
        name: one of :func:`substrate_names`, or a structure file (CIF, POSCAR ...).

    Raises:
        ConfigError: it is neither, the file cannot be read, or its crystal has disordered sites or no symmetry.
    """
    if not isinstance(name, str):
        raise ConfigError(f"substrate {name!r}: give a name ({', '.join(_NAMED)}) or a CIF file")
    if name in _NAMED:
        return _named_cell(_NAMED[name])
    path = Path(name).expanduser()
    if not path.is_file():
        hint = nearest(name, _NAMED, n=2, cutoff=0.4)
        raise ConfigError(f"substrate '{name}' is neither known nor a file ({hint}). Your own: a CIF file")
    from pymatgen.core import Structure

    try:
        structure = Structure.from_file(path)
        cell = structure_defect(structure) or conventional_cell(structure)
    except Exception as error:
        raise ConfigError(f"substrate '{name}' cannot be read: {error}") from error
    if isinstance(cell, Failure):
        raise ConfigError(f"substrate '{name}' cannot be used: {cell.reason}")
    return cell


def conventional_cell(structure: Structure) -> Cell:
    """The conventional standard cell (Setyawan and Curtarolo), which does not depend on how the crystal is written."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    analyzer = SpacegroupAnalyzer(structure, symprec=SYMPREC)
    lattice = analyzer.get_conventional_standard_structure().lattice.matrix
    return Cell(lattice, analyzer.get_conventional_to_primitive_transformation_matrix())


def check_plane(plane: Sequence[int]) -> tuple[int, int, int]:
    """Miller indices as three whole numbers.

    Raises:
        ConfigError: they are not, or all are zero.
    """
    given = list(plane) if isinstance(plane, Sequence) else []
    whole = [int(index) for index in given if isinstance(index, int) and not isinstance(index, bool)]
    if len(whole) != 3 or len(given) != 3 or not any(whole):
        raise ConfigError(f"plane {plane!r}: give three whole Miller indices, not all zero, such as [1, 0, 0]")
    return whole[0], whole[1], whole[2]


def _named_cell(named: _Named) -> Cell:
    angle = np.radians(named.gamma)
    lattice = np.array(
        [
            [named.a, 0.0, 0.0],
            [named.a * np.cos(angle), named.a * np.sin(angle), 0.0],
            [0.0, 0.0, named.c],
        ]
    )
    return Cell(lattice, _PRIMITIVE[named.centring])
