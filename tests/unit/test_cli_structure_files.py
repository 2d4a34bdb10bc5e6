"""Crystals in files: every format reads back, and one bad file spoils nothing but itself."""

from __future__ import annotations

import zipfile

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.cli.structure_files import read_structures, write_structures
from matinvent.errors import Failure, InputError


def salt(edge: float = 5.64) -> Structure:
    half = edge / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def same(structure: object, other: Structure) -> bool:
    assert isinstance(structure, Structure), structure
    return structure.matches(other, scale=False)


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.cif", "cif"), ("a.vasp", "poscar"), ("POSCAR_17", "poscar"), ("CONTCAR", "poscar"), ("a.json", "json")],
)
def test_single_crystal_files(tmp_path, name, form):
    path = tmp_path / name
    path.write_text(salt().to(fmt=form), encoding="utf-8")
    ((source, structure),) = read_structures([path])
    assert source == str(path)
    assert same(structure, salt())


@pytest.mark.parametrize("name", ["out.extxyz", "out.xyz", "out.zip", "folder", "new/deep/folder"])
def test_what_is_written_reads_back_in_order(tmp_path, name):
    structures = [salt(5.64), salt(6.0), salt(7.0)]
    write_structures(structures, tmp_path / name)
    found = read_structures([tmp_path / name])
    assert len({source for source, _ in found}) == 3
    assert all(same(read, written) for (_, read), written in zip(found, structures, strict=True))


def test_writing_never_overwrites(tmp_path):
    for name in ("out.extxyz", "out.zip"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
        with pytest.raises(FileExistsError):
            write_structures([salt()], tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_unknown_output_formats_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"cannot write '\.pdf'"):
        write_structures([salt()], tmp_path / "sub" / "out.pdf")
    assert list(tmp_path.iterdir()) == []


def test_bad_files_become_failures_in_their_place(tmp_path):
    (tmp_path / "a.cif").write_text(salt().to(fmt="cif"), encoding="utf-8")
    (tmp_path / "b.cif").write_text("data_nothing\n", encoding="utf-8")
    (tmp_path / "c.cif").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "d.vasp").write_text("not a POSCAR", encoding="utf-8")
    (tmp_path / "e.xyz").write_text("1\nmolecule\nH 0 0 0\n", encoding="utf-8")
    (tmp_path / "f.json").write_text("{}", encoding="utf-8")
    (tmp_path / "g.cif").write_text("", encoding="utf-8")
    (tmp_path / "h.cif").write_text(salt().to(fmt="cif"), encoding="utf-8")
    found = read_structures([tmp_path])
    assert [isinstance(crystal, Failure) for _, crystal in found] == [False, *[True] * 6, False]
    assert all(crystal.kind == "unreadable" and crystal.reason for _, crystal in found[1:7])


def test_folders_are_searched_for_crystals_only(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.cif").write_text(salt().to(fmt="cif"), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a crystal", encoding="utf-8")
    assert [source for source, _ in read_structures([tmp_path])] == [str(tmp_path / "deep" / "a.cif")]


def test_a_named_file_of_unknown_format_is_a_failure(tmp_path):
    (tmp_path / "notes.txt").write_text("not a crystal", encoding="utf-8")
    ((_, crystal),) = read_structures([tmp_path / "notes.txt"])
    assert isinstance(crystal, Failure)
    assert "known are" in crystal.reason


def test_a_damaged_member_leaves_the_rest_of_an_archive(tmp_path):
    path = tmp_path / "crystals.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.cif", salt().to(fmt="cif"))
        archive.writestr("b.cif", salt().to(fmt="cif"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Na0", b"Xx9", 1))  # breaks the checksum of the first member
    (_, first), (_, second) = read_structures([path])
    assert isinstance(first, Failure)
    assert same(second, salt())


def test_missing_paths_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.cif: no such file or folder"):
        read_structures([tmp_path / "nowhere.cif"])
    with pytest.raises(InputError, match="no crystal files; known are CIF"):
        read_structures([tmp_path])


def test_disordered_crystals_are_read_for_the_screening_to_judge(tmp_path):
    mixed = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    (tmp_path / "a.cif").write_text(mixed.to(fmt="cif"), encoding="utf-8")
    ((_, structure),) = read_structures([tmp_path])
    assert isinstance(structure, Structure)
    assert not structure.is_ordered
