"""Crystals in files: every common format in, extended XYZ or CIF out."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from matinvent.errors import Failure, InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

_CIF = (".cif", ".mcif")
_POSCAR = (".vasp", ".poscar")
_XYZ = (".extxyz", ".xyz")
_JSON = (".json",)
FORMATS = "CIF, POSCAR, extended XYZ, pymatgen JSON, folders and zip files of these"


def read_structures(paths: Sequence[Path]) -> list[tuple[str, Structure | Failure]]:
    """Read all crystals of some files, folders (recursively) and zip archives, in order.

    Returns:
        For each crystal where it comes from (``file``, ``file#3``, ``archive.zip/member``) and the crystal,
        or a Failure for a file that cannot be read.

    Raises:
        InputError: a path does not exist, or there is no crystal file at all.
    """
    found = [crystal for path in paths for name, read in _files(path) for crystal in _parse(name, read)]
    if not found:
        raise InputError(f"{', '.join(map(str, paths))}: no crystal files; known are {FORMATS}")
    return found


def write_structures(structures: Sequence[Structure], output: Path) -> None:
    """Write crystals to a new extended-XYZ file, zip archive or folder of CIF files, as the name says.

    Raises:
        InputError: the suffix is of no known format.
    """
    suffix = output_suffix(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    if suffix in _XYZ:
        import ase.io

        with output.open("x", encoding="utf-8") as file:
            ase.io.write(file, [structure.to_ase_atoms() for structure in structures], format="extxyz")
    elif suffix == ".zip":
        with zipfile.ZipFile(output, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, text in _cifs(structures):
                archive.writestr(name, text)
    else:
        output.mkdir()
        for name, text in _cifs(structures):
            (output / name).write_text(text, encoding="utf-8")


def output_suffix(output: Path) -> str:
    """The suffix that tells :func:`write_structures` the format; empty for a folder.

    Raises:
        InputError: the suffix is of no known format.
    """
    suffix = output.suffix.lower()
    if suffix not in (*_XYZ, ".zip", ""):
        raise InputError(f"{output}: cannot write '{suffix}'; name it .extxyz or .zip, or give a folder")
    return suffix


def _cifs(structures: Sequence[Structure]) -> Iterator[tuple[str, str]]:
    for index, structure in enumerate(structures):
        yield f"{index:04d}_{structure.composition.reduced_formula}.cif", structure.to(fmt="cif")


def _files(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name and reader of every crystal file at a path; a file named by the user counts whatever its name."""
    if path.is_dir():
        for member in sorted(p for p in path.rglob("*") if p.is_file() and _format(p)):
            yield str(member), member.read_bytes
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if _format(PurePath(name)):
                    yield f"{path}/{name}", partial(archive.read, name)
    else:
        yield str(path), path.read_bytes


def _format(path: PurePath) -> str:
    """The format that a file's name tells, empty if none."""
    suffix = path.suffix.lower()
    for name, suffixes in (("cif", _CIF), ("poscar", _POSCAR), ("extxyz", _XYZ), ("json", _JSON)):
        if suffix in suffixes:
            return name
    return "poscar" if path.name.upper().startswith(("POSCAR", "CONTCAR")) else ""


def _parse(name: str, read: Callable[[], bytes]) -> list[tuple[str, Structure | Failure]]:
    """All crystals of one file, numbered where there are several."""
    try:
        structures = _decode(_format(PurePath(name)), read().decode("utf-8"))
    except Exception as error:  # noqa: BLE001 (readers raise whatever damaged files make them stumble over)
        return [(name, Failure("unreadable", f"{type(error).__name__}: {' '.join(str(error).split())}"))]
    if len(structures) == 1:
        return [(name, structures[0])]
    if not structures:
        return [(name, Failure("unreadable", "the file holds no crystal"))]
    return [(f"{name}#{number}", structure) for number, structure in enumerate(structures, start=1)]


def _decode(kind: str, text: str) -> list[Structure | Failure]:
    from pymatgen.core import Structure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parsers warn about rounding and missing tags of ordinary files
        if kind == "cif":
            from pymatgen.io.cif import CifParser

            return list(CifParser.from_str(text).parse_structures(primitive=False))
        if kind == "poscar":
            return [Structure.from_str(text, fmt="poscar")]
        if kind == "extxyz":
            return _from_extxyz(text)
        if kind == "json":
            return [Structure.from_str(text, fmt="json")]
    raise ValueError(f"unknown format; known are {FORMATS}")


def _from_extxyz(text: str) -> list[Structure | Failure]:
    import ase.io
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = ase.io.read(io.StringIO(text), index=":", format="extxyz")
    return [
        AseAtomsAdaptor.get_structure(atoms)
        if atoms.cell.rank == 3
        else Failure("unreadable", "no three-dimensional cell; use extended XYZ with a Lattice entry")
        for atoms in frames
    ]
