"""The smallest area on which two lattice planes coincide.

The search of Zur and McGill, J. Appl. Phys. 55, 378 (1984), with the criteria of pymatgen's ``ZSLGenerator`` at their
defaults. A plane's lattice is held as the three numbers of its Gram matrix, so that all superlattices of all sizes are
made and reduced at once, the substrate's once and for all; the film's are tried from the smallest area upward, and
the first that fits is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matinvent.properties.substrates import Cell

    Array = NDArray[np.float64]

Plane = tuple[int, int, int]

#: Criteria: deviation of the ratio of the areas of the cells, relative deviations of the sides and of the angle.
_AREA_RATIO = 0.09
_LENGTH = 0.03
_ANGLE = 0.01

#: No plane of a crystal has a smaller cell (A^2); of a collapsed one, no more superlattices are made than of this.
_SMALLEST_AREA = 1.0

#: Enough for any cell: each step at least halves the longer side, but for the last.
_MAX_STEPS = 100

#: The planes with indices up to 1. Those that symmetry makes equal give equal areas.
LOW_PLANES: list[Plane] = [(h, k, m) for h, k, m in product((1, 0, -1), repeat=3) if (h, k, m) > (0, 0, 0)]


@dataclass(frozen=True, slots=True)
class Mesh:
    """The lattice of a plane.

    Attributes:
        gram: squared length of the first vector, dot product, squared length of the second (A^2).
    """

    gram: tuple[float, float, float]

    @property
    def area(self) -> float:
        """Area of the unit cell (A^2)."""
        aa, ab, bb = self.gram
        return float(np.sqrt(max(aa * bb - ab * ab, 0.0)))


class Superlattices:
    """All superlattices of a plane below an area, reduced.

    Args:
        mesh: the plane.
        max_area: the area (A^2), itself excluded.

    Attributes:
        mesh: the plane.
        shapes: for each multiple of the cell, from 1, an array (n, 3) of the two sides (A) and their angle (radians).
    """

    def __init__(self, mesh: Mesh, max_area: float) -> None:
        self.mesh = mesh
        self.shapes = [_shapes(mesh, multiple) for multiple in range(1, _multiples(mesh, max_area) + 1)]


def plane_mesh(cell: Cell, plane: Sequence[int], primitive: bool) -> Mesh:
    """The lattice of a plane of a crystal.

    Args:
        cell: the conventional cell.
        plane: Miller indices in it.
        primitive: count the centring translations too; otherwise only the vectors of the conventional cell.
    """
    lattice = np.asarray(cell.lattice, dtype=float)
    indices = np.asarray(plane, dtype=float)
    if primitive:
        lattice = cell.primitive @ lattice
        # Vectors of a primitive cell are sixths of the conventional ones (halves or thirds).
        indices = 6 * cell.primitive @ indices
    whole = np.rint(indices).astype(int)
    vectors = _plane_basis(*(int(index) for index in whole)) @ lattice
    gram = vectors @ vectors.T
    first, dot, second = _reduced(gram[0, :1], gram[0, 1:], gram[1, 1:])
    return Mesh((float(first[0]), float(abs(dot[0])), float(second[0])))


def smallest_coincidence(
    film: Cell, planes: Sequence[Plane], substrate: Superlattices, max_area: float, primitive: bool
) -> float | None:
    """Area of the smallest film superlattice that fits one of the substrate's (A^2); None if none does.

    Args:
        film: conventional cell of the film.
        planes: Miller indices of the film's planes to try.
        substrate: the substrate's superlattices below ``max_area``.
        max_area: largest area that is tried (A^2), itself excluded.
        primitive: see :func:`plane_mesh`.
    """
    meshes = (plane_mesh(film, plane, primitive) for plane in planes)
    distinct = {tuple(round(number, 6) for number in mesh.gram): mesh for mesh in meshes}.values()
    sizes = [
        (multiple * mesh.area, multiple, mesh)
        for mesh in distinct
        for multiple in range(1, _multiples(mesh, max_area) + 1)
    ]
    for area, multiple, mesh in sorted(sizes, key=lambda size: size[0]):
        partners = _partners(mesh.area / substrate.mesh.area, multiple, len(substrate.shapes))
        if partners and _fits(_shapes(mesh, multiple), np.concatenate([substrate.shapes[j - 1] for j in partners])):
            return area
    return None


def _multiples(mesh: Mesh, max_area: float) -> int:
    """Largest multiple of the cell whose area is below a limit."""
    return int(np.ceil(max_area / max(mesh.area, _SMALLEST_AREA))) - 1


def _partners(ratio: float, multiple: int, largest: int) -> list[int]:
    """Multiples of the substrate's cell that are nearly as large as a multiple of the film's.

    Args:
        ratio: area of the film's cell over that of the substrate's.
        multiple: multiple of the film's cell.
        largest: largest multiple of the substrate's that there is.
    """
    others = np.arange(1, largest + 1)
    alike = (np.abs(ratio - others / multiple) < _AREA_RATIO) | (np.abs(1 / ratio - multiple / others) < _AREA_RATIO)
    return [int(other) for other in others[alike]]


def _fits(films: Array, substrates: Array) -> bool:
    """Whether any of (n, 3) shapes is like any of (m, 3) others; deviations are relative to the film's."""
    deviation = np.abs(substrates[None] / films[:, None] - 1)
    return bool(np.any(np.all(deviation <= (_LENGTH, _LENGTH, _ANGLE), axis=-1)))


def _shapes(mesh: Mesh, multiple: int) -> Array:
    """All superlattices of a multiple of the cell: (n, 3) sides (A) and angle (radians) of their reduced cells."""
    i, j, k = _hermite(multiple)
    aa, ab, bb = mesh.gram
    first, dot, second = _reduced(
        i * i * aa + 2 * i * j * ab + j * j * bb,
        i * k * ab + j * k * bb,
        k * k * bb,
    )
    angle = np.arctan2(multiple * mesh.area, np.abs(dot))
    return np.stack([np.sqrt(first), np.sqrt(second), angle], axis=-1)


def _reduced(first: Array, dot: Array, second: Array) -> tuple[Array, Array, Array]:
    """Gram matrices of plane lattices on their shortest vectors (Lagrange); each argument is (n,)."""
    for _ in range(_MAX_STEPS):
        swap = first > second
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        shift = np.rint(dot / first)
        if not shift.any():
            break
        second = second - 2 * shift * dot + shift * shift * first
        dot = dot - shift * first
    return first, dot, second


@cache
def _hermite(multiple: int) -> tuple[Array, Array, Array]:
    """Entries i, j, k of the matrices ((i, j), (0, k)) that make every superlattice of a multiple of a cell."""
    entries = [(i, j, multiple // i) for i in range(1, multiple + 1) if multiple % i == 0 for j in range(multiple // i)]
    i, j, k = np.array(entries, dtype=float).T
    return i, j, k


@cache
def _plane_basis(h: int, k: int, l: int) -> NDArray[np.int64]:  # noqa: E741 - Miller indices are called h, k, l
    """Two lattice vectors that span the lattice of a plane, as integer rows."""
    common = gcd(h, k, l)
    h, k, l = h // common, k // common, l // common  # noqa: E741
    if h == k == 0:
        return np.array([[1, 0, 0], [0, 1, 0]])
    step = gcd(h, k)
    p, q = _bezout(h, k)
    return np.array([[k // step, -h // step, 0], [-p * l, -q * l, step]])


def _bezout(h: int, k: int) -> tuple[int, int]:
    """Whole numbers p and q with p h + q k = gcd(h, k)."""
    if k == 0:
        return (1 if h > 0 else -1), 0
    p, q = _bezout(k, h % k)
    return q, p - (h // k) * q
