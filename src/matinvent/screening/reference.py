"""The reference set: which crystals are known, and the hull that new ones must compete with.

A reference file holds derived arrays only: the vertices of the convex hull (composition, energy)
and, for each known crystal, its name, reduced formula and fingerprint.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure, InputError
from matinvent.screening.matching import Identity, closest, identify
from matinvent.screening.stability import COLUMNS, Hull

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

Progress = Callable[[float], None]

#: Reference sets that come with the package.
SHIPPED = {"mp": "reference_mp.npz"}

FORMAT = 1

#: Fingerprints are stored as 16-bit multiples of this.
QUANTUM = 0.002


class ReferenceSet:
    """Known crystals and their hull.

    Args:
        hull: competitors, on the energy scale of ``potential``.
        potential: name of the potential that gave the energies.
        formulas: distinct reduced formulas of the known crystals.
        counts: known crystals of each formula, shape (number of formulas,).
        names: names of the known crystals, in the order of the formulas.
        fingerprints: their fingerprints in quanta, shape (M, 38), int16.
    """

    def __init__(
        self,
        hull: Hull,
        potential: str,
        formulas: Sequence[str],
        counts: NDArray[np.int64],
        names: Sequence[str],
        fingerprints: NDArray[np.int16],
    ) -> None:
        self.hull = hull
        self.potential = potential
        stops = np.cumsum(counts)
        self._slices = {
            formula: (int(stop - count), int(stop))
            for formula, count, stop in zip(formulas, counts, stops, strict=True)
        }
        self._names = names
        self._fingerprints = fingerprints

    @classmethod
    def load(cls, source: str | Path) -> ReferenceSet:
        """Open a shipped set by name (``mp``) or a file written by :func:`build_reference`.

        Raises:
            InputError: there is no such set or file, or the file is damaged.
        """
        try:
            with np.load(_locate(source), allow_pickle=False) as data:
                if int(data["format"]) != FORMAT:
                    raise InputError(
                        f"{source}: written by another version; rebuild it with `matinvent reference build`"
                    )
                return cls._read(data)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{source}: not a readable reference set ({type(error).__name__}: {error})") from None

    @classmethod
    def _read(cls, data: Any) -> ReferenceSet:
        lengths = data["hull_lengths"].astype(np.int64)
        fractions = np.zeros((len(lengths), COLUMNS))
        fractions[np.repeat(np.arange(len(lengths)), lengths), data["hull_numbers"]] = data["hull_amounts"]
        return cls(
            hull=Hull(fractions / fractions.sum(axis=1, keepdims=True), data["hull_energies"]),
            potential=str(data["potential"]),
            formulas=unpack(data["formulas"]),
            counts=data["counts"].astype(np.int64),
            names=unpack(data["names"]),
            fingerprints=data["fingerprints"],
        )

    def __len__(self) -> int:
        """Number of known crystals."""
        return len(self._names)

    def match(self, identity: Identity) -> str | None:
        """The name of the known crystal that is the same, or None."""
        span = self._slices.get(identity.composition)
        if span is None:
            return None
        position = closest(QUANTUM * self._fingerprints[span[0] : span[1]].astype(np.float64), identity.fingerprint)
        return None if position is None else self._names[span[0] + position]

    def is_known(self, structure: Structure) -> bool:
        """Whether the crystal is in the set; a crystal without a fingerprint is not."""
        identity = identify(structure)
        return not isinstance(identity, Failure) and self.match(identity) is not None


def _locate(source: str | Path) -> Any:
    """The file behind a name."""
    if str(source) in SHIPPED:
        return resources.files("matinvent.data").joinpath(SHIPPED[str(source)])
    path = Path(source)
    if not path.is_file():
        raise InputError(f"reference set '{source}': no such file (shipped: {', '.join(SHIPPED)})")
    return path


def pack(lines: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without line breaks as one byte array, which compresses better than fixed-width strings."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def unpack(packed: NDArray[np.uint8]) -> list[str]:
    """The texts of :func:`_pack`."""
    text = packed.tobytes().decode()
    return text.split("\n") if text else []
