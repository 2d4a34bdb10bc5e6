"""Making reference sets: from known crystals and their energies to the derived arrays of a reference file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure, InputError
from matinvent.screening.fingerprint import LENGTH, fingerprint
from matinvent.screening.matching import Identity, identify
from matinvent.screening.reference import FORMAT, QUANTUM, ReferenceSet, pack
from matinvent.screening.relaxation import Relaxer
from matinvent.screening.stability import Entries, Hull, atomic_fractions, whole_amounts
from matinvent.screening.substitution import merge_similar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Composition, Structure

Progress = Callable[[float], None]

#: Crystals whose energies are computed at a time: all of them would fill the memory, few would let workers wait.
_PORTION = 2000


@dataclass(slots=True)
class Account:
    """What became of the crystals given to :func:`build_reference`.

    Attributes:
        left_out: name and fault of each crystal that cannot be recognised (unreadable, disordered, ...).
        without_energy: name and fault of each crystal that is known but whose energy could not be computed.
        unconverged: relaxations that ran out of steps; their energies are upper bounds.
    """

    left_out: list[tuple[str, Failure]] = field(default_factory=list)
    without_energy: list[tuple[str, Failure]] = field(default_factory=list)
    unconverged: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    """One known crystal; ``merged`` is its fingerprint with similar elements as one, if that makes a difference.

    ``structure`` is there when it is to be kept.
    """

    name: str
    composition: str
    fingerprint: NDArray[np.float32]
    merged: NDArray[np.float32] | None
    structure: Structure | None

    @classmethod
    def of(cls, name: str, identity: Identity, structure: Structure) -> _Known:
        merged = merge_similar(identity.crystal)
        return cls(
            name=name,
            composition=identity.composition,
            fingerprint=identity.fingerprint,
            merged=None if merged is identity.crystal else fingerprint(merged),
            structure=structure,
        )


def build_reference(
    crystals: Iterable[tuple[str, Structure | Failure]],
    total: int,
    out: Path,
    *,
    potential: str,
    entries: Entries | None = None,
    relaxer: Relaxer | None = None,
    keep_structures: bool = False,
    made_from: str = "",
    progress: Progress | None = None,
) -> tuple[ReferenceSet, Account]:
    """Derive a reference file from known crystals and energies.

    The hull is that of ``entries`` and of the energies that ``relaxer`` gives. Fingerprints are those of the geometries
    that the relaxer returns. Without relaxer it takes minutes per 100,000 crystals.

    Args:
        crystals: name and structure of each known crystal, or why there is none.
        total: their number.
        out: file to write; it appears once it is complete.
        potential: name of the potential that gave the energies.
        entries: energies from elsewhere, of these crystals and of any others.
        relaxer: computes the energy of each crystal, relaxed or as it is.
        keep_structures: store the structures too (single precision).
        made_from: a line on the origin, for people.
        progress: called with the finished share in (0, 1].

    Raises:
        InputError: no crystal can be recognised, or there is no energy at all.
    """
    account = Account()
    known: list[_Known] = []
    sources = [] if entries is None else [entries]
    rows = iter(crystals)
    done = 0
    while portion := list(islice(rows, _PORTION)):
        step = None if progress is None else _part_of(progress, done / total, len(portion) / total)
        recognised = _recognised(portion, account, step if relaxer is None else None)
        if relaxer is not None:
            recognised, computed = _computed(recognised, relaxer, account, step)
            sources.append(computed)
        known += recognised if keep_structures else [replace(one, structure=None) for one in recognised]
        done += len(portion)
    if not known:
        example = f", e.g. {account.left_out[0][0]}: {account.left_out[0][1]}" if account.left_out else ""
        raise InputError(f"none of {total} crystals can be recognised{example}")
    hull = _hull(sources, account)
    known.sort(key=lambda one: (one.composition, one.name))
    arrays = {
        "format": np.int64(FORMAT),
        "potential": np.str_(potential),
        "made_from": np.str_(made_from),
        **_known_arrays(known),
        **_hull_arrays(hull),
        **(_structure_arrays([one.structure for one in known if one.structure is not None]) if keep_structures else {}),
    }
    _write(out, arrays)
    return ReferenceSet.load(out), account


def _recognised(
    portion: Sequence[tuple[str, Structure | Failure]], account: Account, progress: Progress | None
) -> list[_Known]:
    """The crystals that can be recognised, with their structures."""
    known: list[_Known] = []
    for position, (given, structure) in enumerate(portion, start=1):
        name = " ".join(given.split())  # names are stored as lines
        identity = structure if isinstance(structure, Failure) else identify(structure)
        if isinstance(identity, Identity) and not isinstance(structure, Failure):
            known.append(_Known.of(name, identity, structure))
        elif isinstance(identity, Failure):
            account.left_out.append((name, identity))
        if progress is not None:
            progress(position / len(portion))
    return known


def _computed(
    known: Sequence[_Known], relaxer: Relaxer, account: Account, progress: Progress | None
) -> tuple[list[_Known], Entries]:
    """Crystals as the relaxer leaves them, and their energies; without a result a crystal stays as it is."""
    results = relaxer.relax([one.structure for one in known if one.structure is not None], progress)
    after: list[_Known] = []
    energies: list[tuple[Composition, float]] = []
    for one, result in zip(known, results, strict=True):
        if isinstance(result, Failure):
            account.without_energy.append((one.name, result))
            after.append(one)
            continue
        energies.append((result.structure.composition, result.energy_per_atom))
        account.unconverged += result.steps > 0 and not result.converged
        identity = identify(result.structure) if result.steps > 0 else None
        after.append(_Known.of(one.name, identity, result.structure) if isinstance(identity, Identity) else one)
    return after, _as_entries(energies)


def _as_entries(energies: Sequence[tuple[Composition, float]]) -> Entries:
    return Entries(atomic_fractions([c for c, _ in energies]), np.array([e for _, e in energies], dtype=np.float64))


def _hull(sources: Sequence[Entries], account: Account) -> Hull:
    fractions = np.concatenate([source.fractions for source in sources])
    if len(fractions) == 0:
        example = f", e.g. {account.without_energy[0][0]}: {account.without_energy[0][1]}"
        raise InputError(f"no energy could be computed{example if account.without_energy else ''}")
    return Hull(fractions, np.concatenate([source.energies for source in sources])).pruned()


def _part_of(progress: Progress, start: float, size: float) -> Progress:
    """Progress of one portion as progress of the whole."""
    return lambda share: progress(start + share * size)


def _known_arrays(known: Sequence[_Known]) -> dict[str, NDArray[Any]]:
    formulas, counts = np.unique([one.composition for one in known], return_counts=True)
    merged = {row: one.merged for row, one in enumerate(known) if one.merged is not None}
    return {
        "formulas": pack([str(formula) for formula in formulas]),
        "counts": counts.astype(np.uint32),
        "names": pack([one.name for one in known]),
        "fingerprints": _quanta([one.fingerprint for one in known]),
        "merged_rows": np.array(list(merged), dtype=np.uint32),
        "merged_fingerprints": _quanta(list(merged.values())),
    }


def _quanta(fingerprints: Sequence[NDArray[np.float32]]) -> NDArray[np.int16]:
    return np.rint(np.array(fingerprints).reshape(-1, LENGTH) / QUANTUM).astype(np.int16)


def _hull_arrays(hull: Hull) -> dict[str, NDArray[Any]]:
    """Hull vertices as sparse whole-number compositions, in an order of their own."""
    amounts, energies = zip(
        *sorted((tuple(whole_amounts(row).items()), e) for row, e in zip(hull.fractions, hull.energies, strict=True)),
        strict=True,
    )
    return {
        "hull_lengths": np.array([len(amount) for amount in amounts], dtype=np.uint8),
        "hull_numbers": np.array([z for amount in amounts for z, _ in amount], dtype=np.uint8),
        "hull_amounts": np.array([n for amount in amounts for _, n in amount], dtype=np.uint16),
        "hull_energies": np.array(energies, dtype=np.float32),
    }


def _structure_arrays(structures: Sequence[Structure]) -> dict[str, NDArray[Any]]:
    """Structures one after the other: crystal i has the atoms offsets[i] to offsets[i + 1]."""
    return {
        "structure_offsets": np.cumsum([0, *(len(structure) for structure in structures)], dtype=np.int64),
        "structure_numbers": np.concatenate([np.array(s.atomic_numbers, dtype=np.uint8) for s in structures]),
        "structure_frac": np.concatenate([s.frac_coords.astype(np.float32) for s in structures]),
        "structure_lattices": np.array([s.lattice.matrix for s in structures], dtype=np.float32),
    }


def _write(out: Path, arrays: dict[str, Any]) -> None:
    """Write beside and rename, so that a kill leaves no half file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    part.replace(out)
