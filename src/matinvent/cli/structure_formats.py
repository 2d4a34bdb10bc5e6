"""What crystal files hold: from the bytes of one file to its crystals, each by itself.

A file may hold many crystals; a damaged one is a Failure in its place and leaves the others readable.
"""

from __future__ import annotations

import io
import re
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from matinvent.errors import Failure

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

T = TypeVar("T")

FORMATS = "CIF, POSCAR, extended XYZ, pymatgen JSON, ASE databases, folders and zip files of these (also gzipped)"

_SUFFIXES = {
    ".cif": "cif", ".mcif": "cif", ".vasp": "poscar", ".poscar": "poscar",
    ".extxyz": "extxyz", ".xyz": "extxyz", ".json": "json", ".db": "db",
}  # fmt: skip

#: A data block begins where pymatgen sees one begin.
_BLOCK = re.compile(r"^\s*data_", re.MULTILINE)


def format_of(path: PurePath) -> str:
    """The format that a file's name tells, ``.gz`` aside; empty if none."""
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    known = _SUFFIXES.get(path.suffix.lower(), "")
    return known or ("poscar" if path.name.upper().startswith(("POSCAR", "CONTCAR")) else "")


def parse(kind: str, content: bytes) -> Iterator[Structure | Failure]:
    """All crystals in a file, in order.

    Args:
        kind: one of the formats of :func:`format_of`.
        content: the file, not compressed.

    Raises:
        Exception: whatever a reader stumbles over in a file that is damaged as a whole.
    """
    if kind == "db":
        yield from _ase_database(content)
        return
    reader = _READERS.get(kind)
    if reader is None:
        raise ValueError(f"unknown format; known are {FORMATS}")
    yield from reader(_text(content))


def unreadable(error: Exception) -> Failure:
    """A reader's complaint as a value."""
    message = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(error).split()))
    if isinstance(error, KeyError):  # says nothing but the key
        message = f"no {message}"
    return Failure("unreadable", f"{type(error).__name__}: {message}".rstrip(": "))


def _text(content: bytes) -> str:
    """Text as UTF-8, or as what every byte string is: Latin-1, which older programs write for names and units."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _quietly(read: Callable[[T], Structure], source: T) -> Structure | Failure:
    """One crystal read from its source, or why it cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parsers warn about rounding and missing tags of ordinary files
        # Without element symbols pymatgen names the elements H, He, Li, ..., which is worse than no crystal.
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
        try:
            return read(source)
        except Exception as error:  # noqa: BLE001 (readers raise whatever damaged files make them stumble over)
            return unreadable(error)


# -------------------------------------------------------------------------------------------------- CIF and POSCAR


def _cif(text: str) -> Iterator[Structure | Failure]:
    starts = [*(match.start() for match in _BLOCK.finditer(text)), len(text)]
    blocks = [text[start:stop] for start, stop in pairwise(starts)]
    # Publications put authors and powder patterns into blocks without a cell.
    crystals = [block for block in blocks if "_cell_length_a" in block.lower()]
    if not crystals:
        raise ValueError("no data block with a cell")
    for block in crystals:
        yield _quietly(_one_cif, block)


def _one_cif(block: str) -> Structure:
    from pymatgen.io.cif import CifParser

    try:
        [structure] = CifParser.from_str(block).parse_structures(primitive=False, on_error="raise")
    except ValueError as error:
        raise error.__cause__ or error from None  # the cause says what is wrong, the error where: section 1
    return structure


def _poscar(text: str) -> Iterator[Structure | Failure]:
    yield _quietly(_one_poscar, text)


def _one_poscar(text: str) -> Structure:
    from pymatgen.core import Structure

    return Structure.from_str(text, fmt="poscar")


# ----------------------------------------------------------------------------------------------------- extended XYZ


def _extxyz(text: str) -> Iterator[Structure | Failure]:
    """Frame by frame; after a damaged one reading goes on where the next one seems to begin."""
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        stop = _frame_end(lines, start)
        outcome: Structure | Failure = (
            Failure("unreadable", f"line {start + 1}: expected a number of atoms, found {lines[start].strip()[:40]!r}")
            if stop is None
            else _quietly(_one_frame, (start, lines[start:stop]))
        )
        if isinstance(outcome, Failure):
            stop = _next_frame(lines, start + 1)
        yield outcome
        assert stop is not None
        start = stop


def _frame_end(lines: list[str], start: int) -> int | None:
    """Where the frame ends that begins with a number of atoms; None if there is no such number."""
    first = lines[start].strip()
    if not first.isdecimal():
        return None
    stop = min(start + 2 + int(first), len(lines))
    while stop < len(lines) and lines[stop].lstrip().startswith("VEC"):
        stop += 1
    return stop


def _next_frame(lines: list[str], start: int) -> int:
    """The next line that is a whole number before a line with a cell or columns; the end if there is none."""
    for number in range(start, len(lines) - 1):
        head = lines[number + 1]
        if lines[number].strip().isdecimal() and ("Lattice=" in head or "Properties=" in head):
            return number
    return len(lines)


def _one_frame(frame: tuple[int, list[str]]) -> Structure:
    """The crystal in a frame, given where it begins and its lines."""
    from ase.io.extxyz import read_xyz

    start, lines = frame
    if len(lines) < int(lines[0]) + 2:
        raise ValueError(f"frame at line {start + 1}: the file ends after {len(lines) - 2} of {lines[0].strip()} atoms")
    try:
        [atoms] = read_xyz(io.StringIO("\n".join(lines) + "\n"), index=slice(None))
    except ValueError as error:
        raise ValueError(f"frame at line {start + 1}: {error}") from None
    return _from_ase(atoms)


# ------------------------------------------------------------------------------------------------------------ JSON


def _json(text: str) -> Iterator[Structure | Failure]:
    import json

    data = json.loads(text)
    if isinstance(data, dict) and "ids" in data and "nextid" in data:
        yield from _ase_json(text)
        return
    if isinstance(data, dict) and not _is_crystal(data):
        entries = list(data.values())  # crystals by their names
        if not any(isinstance(entry, dict) and _is_crystal(entry) for entry in entries):
            raise ValueError("neither a pymatgen structure, nor a list of structures or entries, nor an ASE database")
    else:
        entries = data if isinstance(data, list) else [data]
    for entry in entries:
        yield _quietly(_one_entry, entry)


def _is_crystal(data: Mapping[str, Any]) -> bool:
    return "structure" in data or ("lattice" in data and "sites" in data)


def _one_entry(entry: Any) -> Structure:
    """The crystal of a pymatgen structure, or of an entry that has one."""
    from pymatgen.core import Structure

    if not isinstance(entry, dict) or not _is_crystal(entry):
        raise ValueError("no structure in this entry")
    return Structure.from_dict(entry.get("structure", entry))


# --------------------------------------------------------------------------------------------------------- ASE


def _ase_json(text: str) -> Iterator[Structure | Failure]:
    from ase.db.row import AtomsRow
    from ase.io.jsonio import decode

    data = decode(text)
    for key in data["ids"]:
        yield _quietly(lambda row: _from_ase(AtomsRow(row).toatoms()), {**data[key], "id": key})


def _ase_database(content: bytes) -> Iterator[Structure | Failure]:
    with tempfile.NamedTemporaryFile(suffix=".db") as copy:
        copy.write(content)
        copy.flush()
        yield from read_ase_database(Path(copy.name))


def read_ase_database(path: Path) -> Iterator[Structure | Failure]:
    """All crystals of an ASE database (SQLite), which is opened for reading only.

    Raises:
        ValueError: the file is no such database.
    """
    from ase.db import connect

    address = f"{path.resolve().as_uri()}?mode=ro"
    # ASE would turn any other file into one of its databases.
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            rows = connection.execute("SELECT id FROM systems ORDER BY id").fetchall()
    except sqlite3.DatabaseError as error:
        raise ValueError(f"not an ASE database ({error})") from None
    database = connect(path, type="db", use_lock_file=False)
    database._connect = lambda: sqlite3.connect(address, uri=True, timeout=20)
    for (key,) in rows:
        yield _quietly(lambda row: _from_ase(database.get(id=row).toatoms()), key)


def _from_ase(atoms: Atoms) -> Structure:
    from pymatgen.io.ase import AseAtomsAdaptor

    if atoms.cell.rank != 3:
        raise ValueError("no three-dimensional cell (in extended XYZ: a Lattice entry)")
    structure: Structure = AseAtomsAdaptor.get_structure(atoms)
    return structure


_READERS: dict[str, Callable[[str], Iterator[Structure | Failure]]] = {
    "cif": _cif,
    "poscar": _poscar,
    "extxyz": _extxyz,
    "json": _json,
}
