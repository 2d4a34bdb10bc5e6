"""Training data for a prior: crystals with their templates and energy-above-hull classes.

A data folder holds ``mp_structures.parquet`` (material_id, species, frac_coords, abc, angles), and,
for the conditional prior, ``mp_energies.parquet`` (material_id, formula, energy_per_atom) and
``mp_labels.parquet`` (material_id, in_icsd, e_above_hull).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Lattice, Structure

from matinvent.errors import Failure, InputError
from matinvent.generators.diffcsp.crystal import Crystal, encode_structure

if TYPE_CHECKING:
    import pandas as pd

#: Upper edges (eV/atom) of the energy-above-hull classes 1, 2, ...; class 0 is "unknown".
STABILITY_EDGES = (0.005, 0.03, 0.08, 0.2, 0.5)
#: Noble gases form no crystals worth learning.
EXCLUDED = frozenset({"He", "Ne", "Ar", "Kr", "Xe", "Rn"})


def load_table(data: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read one parquet table of a data folder.

    Raises:
        InputError: the file is missing, unreadable or lacks a column.
    """
    import pandas as pd

    path = data / f"{name}.parquet"
    if not path.is_file():
        raise InputError(f"{path}: no such file; the data folder must hold {name}.parquet")
    try:
        return pd.read_parquet(path, columns=list(columns))
    except (OSError, ValueError, KeyError) as error:  # ArrowInvalid is a ValueError
        raise InputError(f"{path}: cannot be read: {error}") from None


def structures(table: pd.DataFrame) -> Iterator[tuple[str, Structure]]:
    """Material id and structure of each row."""
    for row in table.itertuples():
        lattice = Lattice.from_parameters(*row.abc, *row.angles)
        yield row.material_id, Structure(lattice, list(row.species), np.reshape(row.frac_coords, (-1, 3)))


def energies_above_hull(data: Path, material_ids: Sequence[str]) -> np.ndarray:
    """Energy above the hull of the data's own energies (eV/atom); NaN where no energy is known."""
    import pandas as pd

    from matinvent.screening.stability import Hull, atomic_fractions

    table = load_table(data, "mp_energies", ["material_id", "formula", "energy_per_atom"])
    hull = Hull(atomic_fractions(table["formula"].tolist()), table["energy_per_atom"])
    wanted = table[table["material_id"].isin(set(material_ids))]
    above = hull.energies_above_hull(wanted["formula"].tolist(), wanted["energy_per_atom"].to_numpy())
    return pd.Series(above, index=wanted["material_id"]).reindex(list(material_ids)).to_numpy()


def synthesised_or_stable(data: Path, material_ids: Sequence[str]) -> np.ndarray:
    """True for crystals that DFT puts below 0.1 eV/atom, or that the ICSD lists and DFT does not forbid."""
    labels = load_table(data, "mp_labels", ["material_id", "in_icsd", "e_above_hull"]).set_index("material_id")
    labels = labels.reindex(list(material_ids))
    energy = labels["e_above_hull"].to_numpy(dtype=float)
    synthesised = labels["in_icsd"].to_numpy(dtype=float) == 1
    chosen: np.ndarray = (energy < 0.1) | (synthesised & ~(energy > 0.2))
    return chosen


def load_crystals(
    data: Path,
    max_atoms: int,
    symmetric: bool,
    limit: int | None = None,
) -> tuple[list[Crystal], np.ndarray]:
    """Encode a data folder's crystals, with their stability classes.

    Returns:
        The crystals and, for each, whether it is stable or synthesised (the sampling distribution of templates).
    """
    table = load_table(data, "mp_structures", ["material_id", "species", "frac_coords", "abc", "angles"])
    table = table[[not EXCLUDED.intersection(species) for species in table["species"]]]
    if limit is not None:
        table = table.sample(min(limit, len(table)), random_state=0)
    ids = table["material_id"].tolist()
    above = energies_above_hull(data, ids)
    classes = np.where(np.isnan(above), 0, np.digitize(np.nan_to_num(above), STABILITY_EDGES) + 1)
    realistic = synthesised_or_stable(data, ids)
    crystals, kept = [], []
    for i, (_, structure) in enumerate(structures(table)):
        crystal = encode_structure(structure, max_atoms, symmetric)
        if not isinstance(crystal, Failure):
            crystals.append(replace(crystal, stability=int(classes[i])))
            kept.append(realistic[i])
    return crystals, np.array(kept, dtype=bool)
