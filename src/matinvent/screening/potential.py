"""What a potential is to the batched relaxation: crystals in, energies and their gradients out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from matinvent.errors import Failure
    from matinvent.screening.neighbors import Crystal


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a potential says about one crystal.

    Attributes:
        energy: potential energy of the cell (eV).
        forces: forces on the atoms, shape (N, 3), eV/A.
        stress: Cauchy stress, shape (3, 3), eV/A^3; positive on the diagonal under tension.
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]


class Potential(Protocol):
    """A potential that evaluates many crystals at once; ``potential`` names its energy scale."""

    potential: str

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        """Same length and order; a crystal that cannot be treated is a Failure in its place."""
        ...
