"""Tables of labelled crystals: which number belongs to which structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from matinvent.cli.structure_files import read_structures
from matinvent.cli.structure_formats import parse, unreadable
from matinvent.errors import Failure, InputError

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

STRUCTURE_COLUMN, FILE_COLUMN, ID_COLUMN = "structure", "file", "material_id"


@dataclass(frozen=True, slots=True)
class LabelledCrystals:
    """Crystals with a number each, and what was left out.

    Attributes:
        names: of the crystals, length N.
        structures: the crystals.
        values: their numbers.
        dropped: reason -> rows that were left out.
    """

    names: Sequence[str]
    structures: Sequence[Structure]
    values: Sequence[float]
    dropped: dict[str, int]


def read_labels(
    path: Path,
    target: str,
    plausible: tuple[float, float],
    structures: Path | None = None,
    id_column: str = ID_COLUMN,
) -> LabelledCrystals:
    """Read a CSV or Parquet table with a target and, for each row, a crystal.

    The crystal is text in a column ``structure`` (POSCAR, CIF or JSON), or the name of a file in a column ``file``
    (relative to the table), or found by its id in ``structures``: a Parquet table of material_id, species, abc, angles
    and frac_coords, or files named by id.

    Args:
        path: the table.
        target: column of the numbers; rows without one are left out.
        plausible: smallest and largest number that can be right; others are left out.
        structures: where crystals are found by id.
        id_column: column of the ids.

    Raises:
        InputError: the table cannot be read, lacks a column, or has a target that is no number; nothing is left.
    """
    table = _read(path)
    if target not in table:
        raise InputError(f"{path}: has no column '{target}'; it has {', '.join(map(str, table.columns))}")
    values = _numbers(table[target], f"{path}, column '{target}'")
    known = values.notna()
    lower, upper = plausible
    sensible = values.between(lower, upper)
    dropped = {
        f"no {target}": int((~known).sum()),
        f"{target} outside of {lower:g} .. {upper:g}": int((known & ~sensible).sum()),
    }
    names, crystals = _crystals(table[sensible], path, structures, id_column)
    kept = [position for position, crystal in enumerate(crystals) if not isinstance(crystal, Failure)]
    for crystal in crystals:
        if isinstance(crystal, Failure):
            dropped[str(crystal.kind)] = dropped.get(crystal.kind, 0) + 1
    if not kept:
        raise InputError(f"{path}: no row has both a crystal and a plausible '{target}' ({_account(dropped)})")
    numbers = values[sensible].tolist()
    return LabelledCrystals(
        [names[i] for i in kept],
        [crystal for crystal in crystals if not isinstance(crystal, Failure)],
        [float(numbers[i]) for i in kept],
        {reason: count for reason, count in dropped.items() if count},
    )


def _account(dropped: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in dropped.items() if count) or "the table is empty"


def _read(path: Path) -> pd.DataFrame:
    """A table whose texts are as they stand: "NaN" is the formula of sodium nitride."""
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # ArrowInvalid and pandas' ParserError are ValueErrors
        raise InputError(f"{path}: not a readable CSV or Parquet table ({error})") from None


def _numbers(column: pd.Series, where: str) -> pd.Series:
    """The column as numbers, NaN where it is empty."""
    import pandas as pd

    empty = column.isna() | column.astype(str).str.strip().str.lower().isin(["", "nan", "none", "null"])
    numbers = pd.to_numeric(column.where(~empty), errors="coerce").astype(float)
    wrong = numbers.isna() & ~empty
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(f"{where}, row {row + 1}: no number but {column.iloc[row]!r}")
    return numbers


def _crystals(
    table: pd.DataFrame, path: Path, structures: Path | None, id_column: str
) -> tuple[list[str], list[Structure | Failure]]:
    """Name and crystal of each row."""
    if structures is not None:
        if id_column not in table:
            raise InputError(f"{path}: has no column '{id_column}' to find structures by; name it with --id")
        ids = table[id_column].astype(str).tolist()
        found = _by_id(structures, set(ids))
        missing = Failure("no structure", f"{structures} has no crystal of this id")
        return ids, [found.get(name, missing) for name in ids]
    names = table[id_column].astype(str).tolist() if id_column in table else [f"row {row + 1}" for row in table.index]
    if STRUCTURE_COLUMN in table:
        return names, [_from_text(text) for text in table[STRUCTURE_COLUMN]]
    if FILE_COLUMN in table:
        return names, [_from_file(path.parent / str(file)) for file in table[FILE_COLUMN]]
    raise InputError(
        f"{path}: where are the structures? Neither a column '{STRUCTURE_COLUMN}' nor '{FILE_COLUMN}' is there, and no "
        "--structures is given"
    )


def _by_id(source: Path, wanted: set[str]) -> dict[str, Structure | Failure]:
    """Crystals of a Parquet table, or of files named by id, as far as they are wanted."""
    if source.suffix.lower() == ".parquet":
        from matinvent.screening.reference_tables import StructureTable

        return {name: crystal for name, crystal in StructureTable(source) if name in wanted}
    return {PurePath(name).name.split(".")[0]: crystal for name, crystal in read_structures([source])}


def _from_text(text: Any) -> Structure | Failure:
    """The crystal that a text describes."""
    content = str(text)
    kind = "json" if content.lstrip().startswith(("{", "[")) else "cif" if "_cell_length_a" in content else "poscar"
    try:
        return next(iter(parse(kind, content.encode())))
    except Exception as error:  # noqa: BLE001 (readers raise whatever damaged texts make them stumble over)
        return unreadable(error)


def _from_file(path: Path) -> Structure | Failure:
    if not path.is_file():
        return Failure("no structure", f"{path}: no such file")
    return read_structures([path])[0][1]
