"""Crystals in files: every format reads back, and one bad file spoils nothing but itself."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from pathlib import Path

import ase
import ase.db
import ase.io
import pytest
from ase.build import bulk
from monty.json import MontyEncoder
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

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


def contents(path: Path) -> list[str]:
    """What a file holds: formulas, and the reasons of failures."""
    return [c.reason if isinstance(c, Failure) else c.composition.reduced_formula for _, c in read_structures([path])]


def formulas(path: Path) -> list[str]:
    """The same with every failure as an empty string."""
    found = [crystal for _, crystal in read_structures([path])]
    return ["" if isinstance(crystal, Failure) else crystal.composition.reduced_formula for crystal in found]


def test_a_file_of_many_data_blocks_is_many_crystals(tmp_path):
    cif, other = salt().to(fmt="cif"), bulk_structure("Cu").to(fmt="cif")
    damaged = cif.replace("_cell_length_a   3", "_cell_length_a   three")
    (tmp_path / "a.cif").write_text(f"data_global\n_author 'me'\n{cif}{damaged}{other}{cif}", encoding="utf-8")
    assert formulas(tmp_path / "a.cif") == ["NaCl", "", "Cu", "NaCl"]  # blocks of one name are not one crystal
    assert [source for source, _ in read_structures([tmp_path / "a.cif"])] == [
        f"{tmp_path}/a.cif#{n}" for n in range(1, 5)
    ]
    assert "could not convert string to float: 'three" in contents(tmp_path / "a.cif")[1]


def bulk_structure(element: str) -> Structure:
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_structure(bulk(element))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_names_of_authors_may_be_encoded_in_any_way(tmp_path, encoding):
    (tmp_path / "a.cif").write_bytes(f"# Å. Müller\n{salt().to(fmt='cif')}".encode(encoding))
    assert formulas(tmp_path / "a.cif") == ["NaCl"]


@pytest.mark.parametrize("form", ["cif", "poscar", "json"])
def test_compressed_files(tmp_path, form):
    name = {"cif": "a.cif.gz", "poscar": "POSCAR.gz", "json": "a.json.gz"}[form]
    (tmp_path / name).write_bytes(gzip.compress(salt().to(fmt=form).encode()))
    ((source, crystal),) = read_structures([tmp_path])
    assert source == str(tmp_path / name)
    assert same(crystal, salt())
    (tmp_path / name).write_bytes(b"not compressed")
    assert "gzip" in contents(tmp_path / name)[0]


FRAMES = ["Cu", "NaCl", "Fe", "Al"]


def frames() -> list[str]:
    """Lines of four frames: 2 + 1, 2 + 2, 2 + 1, 2 + 1."""
    text = io_text([bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6), bulk("Fe"), bulk("Al")])
    assert len(text) == 13
    return text


def io_text(atoms: list[ase.Atoms]) -> list[str]:
    import io

    file = io.StringIO()
    ase.io.write(file, atoms, format="extxyz")
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("change", "lost", "said"),
    [
        (lambda t: t[:5] + t[6:], 1, "frame at line 4"),  # an atom is missing
        (lambda t: [*t[:5], "Na one two three", *t[6:]], 1, "frame at line 4"),
        (lambda t: [*t[:3], "\x00garbage\x1b", *t[4:]], 1, "line 4: expected a number of atoms"),
        (lambda t: [*t[:4], "no cell", *t[5:]], 1, "no three-dimensional cell"),
        (lambda t: [*t[:5], "Xx 0 0 0", *t[6:]], 1, "Xx"),
        (lambda t: ["1000000", *t[1:]], 0, "of 1000000 atoms"),
        (lambda t: t[:-1], 3, "of 1 atoms"),
        (lambda t: [*t[:-1], t[-1][:12]], 3, "frame at line 11"),
    ],
)
def test_a_damaged_frame_leaves_all_others(tmp_path, change, lost, said):
    (tmp_path / "a.extxyz").write_text("\n".join(change(frames())) + "\n", encoding="utf-8")
    assert formulas(tmp_path / "a.extxyz") == ["" if n == lost else name for n, name in enumerate(FRAMES)]
    assert said in contents(tmp_path / "a.extxyz")[lost]
    assert contents(tmp_path / "a.extxyz")[lost].isprintable()


def test_blank_lines_between_frames_do_not_matter(tmp_path):
    lines = frames()
    (tmp_path / "a.xyz").write_text("\n".join([*lines[:3], "", *lines[3:], "", ""]), encoding="utf-8")
    assert formulas(tmp_path / "a.xyz") == FRAMES


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_ase_databases(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with ase.db.connect(path) as database:
        for atoms in (bulk("Cu"), ase.Atoms("H"), bulk("Fe")):
            database.write(atoms, note="mine")
    before = path.read_bytes()
    assert formulas(path) == ["Cu", "", "Fe"]
    path.chmod(0o444)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(path, f"in/a.{suffix}")
    assert formulas(tmp_path / "z.zip") == ["Cu", "", "Fe"]
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "z.zip"}  # neither locks nor copies


def test_a_database_of_something_else_is_left_as_it_is(tmp_path):
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE phones (number INTEGER)")
    connection.commit()
    connection.close()
    (tmp_path / "b.db").write_bytes(b"no database at all")
    before = (tmp_path / "a.db").read_bytes()
    assert "not an ASE database" in contents(tmp_path / "a.db")[0]
    assert "not an ASE database" in contents(tmp_path / "b.db")[0]
    assert (tmp_path / "a.db").read_bytes() == before


def test_pymatgen_json_in_all_its_forms(tmp_path):
    plain, entry = salt().as_dict(), ComputedStructureEntry(bulk_structure("Cu"), -3.7)
    forms = {
        "structure": (plain, ["NaCl"]),
        "structures": ([plain, {"nothing": 1}, plain], ["NaCl", "", "NaCl"]),
        "entry": (entry, ["Cu"]),
        "entries": ([entry, {"material_id": "mp-1", "structure": plain}, 7], ["Cu", "NaCl", ""]),
        "by name": ({"mp-1": plain, "mp-2": {"structure": plain}}, ["NaCl", "NaCl"]),
        "foreign": ({"a": {"b": 1}}, [""]),
        "empty": ([], [""]),
    }
    for name, (data, expected) in forms.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(data, cls=MontyEncoder), encoding="utf-8")
        assert formulas(tmp_path / f"{name}.json") == expected, name


POSCAR = "title\n1.0\n{cell}\n{symbols}1 1\ndirect\n0 0 0\n{second}\n"
CUBE = "5 0 0\n0 5 0\n0 0 5"


def test_a_poscar_without_elements_is_not_given_false_ones(tmp_path):
    (tmp_path / "POSCAR").write_text(POSCAR.format(cell=CUBE, symbols="", second=".5 .5 .5"), encoding="utf-8")
    assert "Elements in POSCAR cannot be determined" in contents(tmp_path / "POSCAR")[0]


@pytest.mark.parametrize(
    ("cell", "symbols", "second", "kind"),
    [
        ("5 0 0\n5 0 0\n0 0 5", "Na Cl\n", ".5 .5 .5", "volume"),
        (CUBE, "Xx Cl\n", ".5 .5 .5", "unknown-element"),
        (CUBE, "Na Cl\n", "nan .5 .5", "not-finite"),
        (CUBE, "Na Cl\n", "0 0 0", "overlap"),
    ],
)
def test_what_can_be_read_but_not_be_is_judged_by_the_screening(tmp_path, cell, symbols, second, kind):
    from matinvent.config_screening import ValidityConfig
    from matinvent.screening.validity import check_validity

    (tmp_path / "POSCAR").write_text(POSCAR.format(cell=cell, symbols=symbols, second=second), encoding="utf-8")
    ((_, crystal),) = read_structures([tmp_path])
    failure = crystal if isinstance(crystal, Failure) else check_validity(crystal, ValidityConfig())
    assert failure is not None
    assert failure.kind in {kind, "unreadable"}


def test_what_systems_leave_in_archives_is_no_crystal(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.cif", salt().to(fmt="cif"))
        archive.writestr("__MACOSX/._a.cif", "resources")
    assert formulas(tmp_path / "a.zip") == ["NaCl"]


def test_progress_is_told_by_files(tmp_path):
    write_structures([salt(), salt()], tmp_path / "many")
    seen: list[float] = []
    read_structures([tmp_path / "many", tmp_path / "many"], seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]
