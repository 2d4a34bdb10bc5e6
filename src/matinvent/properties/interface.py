"""How well a crystal fits as a film on a substrate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matinvent.errors import ConfigError, Failure
from matinvent.properties.coincidence import LOW_PLANES, Superlattices, plane_mesh, smallest_coincidence
from matinvent.properties.evaluator import PropertyInfo, Values, evaluate_each
from matinvent.properties.substrates import check_plane, conventional_cell, load_substrate

if TYPE_CHECKING:
    from pymatgen.core import Structure

_LARGEST_AREA = 1000.0  # A^2


class CoincidentArea:
    """Minimal coincident interface area (MCIA) of a crystal as a film on a substrate.

    The smallest common cell of a plane of the film (Miller indices up to 1 unless one is given) and a plane of the
    substrate, after Zur and McGill: areas alike, sides within 3 %, angles within 1 %. The value is the area of the
    unstrained film's cell. The smaller, the likelier is coherent growth.

    As in pymatgen's SubstrateAnalyzer and the Materials Project, lattices of planes are those of the conventional
    cells: the square of Si(100) is 5.43 A wide. Its true period is 3.84 A; see ``primitive``.

    Args:
        substrate: a name (Si, Ge, GaAs, InP, AlN, GaN, SiC, SiC-3C, SiC-6H, Al2O3, SiO2, MgO, SrTiO3, C) or a CIF file.
        plane: Miller indices of its surface in the conventional (hexagonal, three-index) cell.
        film_plane: Miller indices of the only plane of the film to try; by default all with indices up to 1.
        max_area: give up beyond this area (A^2); the film is then a Failure ``no-match``, for it has no area at all.
        primitive: count the centring translations of film and substrate, which pymatgen leaves out. Areas are then
            those that papers on epitaxy give, in centred lattices often half as large.

    Raises:
        ConfigError: a parameter cannot be used.
    """

    properties = (
        PropertyInfo(
            name="mcia",
            unit="A^2",
            description="Minimal coincident interface area on a substrate, Si(100) unless another is given.",
            bounds=(0.0, _LARGEST_AREA),
            cost="instant",
            source="Zur and McGill, J. Appl. Phys. 55, 378 (1984); criteria as in pymatgen's SubstrateAnalyzer",
            needs=("relaxed structure",),
        ),
    )
    version = "1"

    def __init__(
        self,
        substrate: str = "Si",
        plane: Sequence[int] = (1, 0, 0),
        film_plane: Sequence[int] | None = None,
        max_area: float = 400.0,
        primitive: bool = False,
    ) -> None:
        number = isinstance(max_area, int | float) and not isinstance(max_area, bool)
        if not (number and 0 < max_area <= _LARGEST_AREA):
            raise ConfigError(f"max_area {max_area!r}: give an area up to {_LARGEST_AREA:g} A^2")
        self._film_planes = LOW_PLANES if film_plane is None else [check_plane(film_plane)]
        mesh = plane_mesh(load_substrate(substrate), check_plane(plane), primitive)
        self.params: Mapping[str, Any] = {
            "substrate": substrate,
            "plane": list(plane),
            "film_plane": None if film_plane is None else list(film_plane),
            "max_area": max_area,
            "primitive": primitive,
            # All that matters of the substrate; a file may change under its name.
            "mesh": [round(number, 6) for number in mesh.gram],
        }
        self._superlattices = Superlattices(mesh, max_area)

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Area of each film (A^2).

        Failure kinds: ``no-match`` (nothing fits below ``max_area``), ``no-symmetry`` (the symmetry search fails),
        and those of :func:`matinvent.properties.evaluator.structure_defect`.
        """
        return evaluate_each(self._area, structures)

    def _area(self, structure: Structure) -> Values | Failure:
        try:
            film = conventional_cell(structure)
        except Exception as error:  # noqa: BLE001 - spglib and pymatgen raise several kinds on cells without volume
            return Failure("no-symmetry", f"no conventional cell: {error}")
        limit, primitive = self.params["max_area"], self.params["primitive"]
        area = smallest_coincidence(film, self._film_planes, self._superlattices, limit, primitive)
        if area is None:
            plane = "".join(str(index) for index in self.params["plane"])
            return Failure("no-match", f"no common cell with {self.params['substrate']}({plane}) below {limit:g} A^2")
        return {"mcia": area}
