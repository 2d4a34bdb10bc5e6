"""Crystals in files: where they are found and what each comes from; extended XYZ or CIF out."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from matinvent.cli.structure_formats import FORMATS, format_of, parse, read_ase_database, unreadable
from matinvent.errors import Failure, InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

Progress = Callable[[float], None]

_XYZ = (".extxyz", ".xyz")


@dataclass(frozen=True, slots=True)
class _File:
    """One file, perhaps in an archive: what it is called, how to read it, and where it lies on disk by itself."""

    name: str
    read: Callable[[], bytes]
    path: Path | None = None


def read_structures(paths: Sequence[Path], progress: Progress | None = None) -> list[tuple[str, Structure | Failure]]:
    """Read all crystals of some files, folders (recursively), zip archives and databases, in order.

    Args:
        paths: what the user named; a file counts whatever its name, members of folders and archives by their names.
        progress: called with the finished share of the files in (0, 1].

    Returns:
        For each crystal where it comes from (``file``, ``file#3``, ``archive.zip/member``) and the crystal,
        or a Failure for one that cannot be read.

    Raises:
        InputError: a path does not exist, or there is no crystal file at all.
    """
    files = [file for path in paths for file in _files(path)]
    found: list[tuple[str, Structure | Failure]] = []
    for done, file in enumerate(files, start=1):
        found += _crystals(file)
        if progress is not None:
            progress(done / len(files))
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


def _files(path: Path) -> Iterator[_File]:
    """Every crystal file at a path."""
    if path.is_dir():
        for member in sorted(p for p in path.rglob("*") if _counts(p) and p.is_file()):
            yield _File(str(member), member.read_bytes, member)
    elif not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    elif zipfile.is_zipfile(path):
        try:
            archive = zipfile.ZipFile(path)  # stays open for its members: its table of contents is read once
        except (zipfile.BadZipFile, OSError) as error:
            yield _File(str(path), partial(_refuse, error))
            return
        for name in sorted(archive.namelist()):
            if _counts(PurePath(name)):
                yield _File(f"{path}/{name}", partial(archive.read, name))
    else:
        yield _File(str(path), path.read_bytes, path)


def _counts(path: PurePath) -> bool:
    """Whether a name is that of a crystal file; names with a leading dot are what systems leave beside files."""
    return bool(format_of(path)) and not path.name.startswith(".")


def _refuse(error: Exception) -> bytes:
    raise error


def _crystals(file: _File) -> list[tuple[str, Structure | Failure]]:
    """All crystals of one file, numbered where there are several."""
    found: list[Structure | Failure] = []
    try:
        found.extend(_parse(file))
    except Exception as error:  # noqa: BLE001 (readers raise whatever damaged files make them stumble over)
        found.append(unreadable(error))
    if not found:
        return [(file.name, Failure("unreadable", "the file holds no crystal"))]
    if len(found) == 1:
        return [(file.name, found[0])]
    return [(f"{file.name}#{number}", crystal) for number, crystal in enumerate(found, start=1)]


def _parse(file: _File) -> Iterator[Structure | Failure]:
    name = PurePath(file.name)
    kind = format_of(name)
    if name.suffix.lower() == ".gz":
        return parse(kind, gzip.decompress(file.read()))
    if kind == "db" and file.path is not None:
        return read_ase_database(file.path)
    return parse(kind, file.read())
