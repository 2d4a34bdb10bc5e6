"""Building reference sets: from tables and files, energies given or computed, bad input, and after a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from pymatgen.core import Composition, Lattice, Structure
from tests.unit.screening_world import rocksalt, zincblende

from matinvent.cli import main
from matinvent.errors import Failure, InputError
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.reference_build import Account, build_reference
from matinvent.screening.reference_tables import StructureTable, read_energies
from matinvent.screening.relaxation import Relaxation
from matinvent.screening.stability import Entries, Hull, HullResult, atomic_fractions

METALS = {"Cu": 3.6, "Au": 4.1, "Ag": 4.1}


def fcc(element: str, scale: float = 1.0) -> Structure:
    half = scale * METALS[element] / 2
    return Structure(Lattice([[0, half, half], [half, 0, half], [half, half, 0]]), [element], [[0, 0, 0]])


def ordered_alloy(one: str = "Cu", other: str = "Au") -> Structure:
    return Structure(Lattice.tetragonal(2.85, 3.7), [one, other], [[0, 0, 0], [0.5, 0.5, 0.5]])


CRYSTALS = {"copper": fcc("Cu", 1.03), "gold": fcc("Au"), "silver": fcc("Ag"), "alloy": ordered_alloy()}


def entries(energies: dict[str, float]) -> Entries:
    return Entries(atomic_fractions(list(energies)), np.array(list(energies.values())))


SALT = entries({"Na": -1.3, "Cl": -1.8, "NaCl": -3.4})


class Recording:
    """Swells crystals by a tenth and gives them an energy of -3 eV/atom; gold has none."""

    potential = "recording"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def relax(self, structures: Sequence[Structure], progress: Any = None, **_: Any) -> list[Relaxation | Failure]:
        self.seen += [structure.composition.reduced_formula for structure in structures]
        return [self._one(structure) for structure in structures]

    def close(self) -> None:
        pass

    def _one(self, structure: Structure) -> Relaxation | Failure:
        if "Au" in structure.composition:
            return Failure("volume", "told to fail")
        swollen = structure.copy()
        swollen.scale_lattice(1.1 * structure.volume)
        return Relaxation(swollen, -3.0 * len(structure), "Ag" not in structure.composition, 5, 0.05, 0.1)


def built(
    out: Path, crystals: Sequence[tuple[str, Structure | Failure]], **settings: Any
) -> tuple[ReferenceSet, Account]:
    return build_reference(crystals, len(crystals), out, potential="test", **settings)


class TestBuild:
    def test_bad_crystals_are_named_and_spoil_no_others(self, tmp_path: Path) -> None:
        disordered = Structure(Lattice.cubic(3), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
        flat = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0, 0]])
        crystals = [
            ("unread", Failure("unreadable", "no such thing")),
            ("salt", rocksalt()),
            ("mixed", disordered),
            ("flat", flat),
        ]
        reference, account = built(tmp_path / "a.npz", crystals, entries=SALT)
        assert len(reference) == 1
        assert reference.is_known(rocksalt())
        assert [name for name, _ in account.left_out] == ["unread", "mixed", "flat"]
        assert all(failure.reason for _, failure in account.left_out)

    def test_no_crystal_at_all_is_an_error_that_says_why(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such thing"):
            built(tmp_path / "a.npz", [("x", Failure("unreadable", "no such thing"))], entries=SALT)
        assert not list(tmp_path.iterdir())

    def test_names_may_repeat_and_hold_line_breaks(self, tmp_path: Path) -> None:
        crystals = [("same", rocksalt()), ("same", zincblende()), ("two\nlines", rocksalt(a=7.0))]
        reference, _ = built(tmp_path / "a.npz", crystals, entries=SALT)
        assert len(reference) == 3

    def test_the_order_of_the_crystals_does_not_matter(self, tmp_path: Path) -> None:
        crystals = list(CRYSTALS.items())
        for name, given in (("a.npz", crystals), ("b.npz", crystals[::-1])):
            built(tmp_path / name, given, relaxer=Recording(), keep_structures=True)
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()

    def test_relaxed_energies_and_geometries_are_what_counts(self, tmp_path: Path) -> None:
        relaxer = Recording()
        reference, account = built(tmp_path / "a.npz", list(CRYSTALS.items()), relaxer=relaxer, keep_structures=True)
        assert relaxer.seen == ["Cu", "Au", "Ag", "CuAu"]
        assert [name for name, _ in account.without_energy] == ["gold", "alloy"]
        assert account.unconverged == 1
        assert len(reference) == 4  # without energy, and yet known
        assert sorted(e for e in reference.hull.energies) == [-3.0, -3.0]
        volumes = {crystal.composition.reduced_formula: crystal.volume for crystal in stored(tmp_path / "a.npz")}
        assert volumes["Cu"] == pytest.approx(1.1 * CRYSTALS["copper"].volume, rel=1e-6)
        assert volumes["Au"] == pytest.approx(CRYSTALS["gold"].volume, rel=1e-6)

    def test_computed_and_given_energies_share_a_hull(self, tmp_path: Path) -> None:
        given = entries({"Cu": -3.5, "Ag": -2.5, "CuAg": -2.9})
        reference, _ = built(tmp_path / "a.npz", list(CRYSTALS.items()), relaxer=Recording(), entries=given)
        assert reference.hull.hull_energy(Composition("Cu")) == pytest.approx(-3.5)
        assert reference.hull.hull_energy(Composition("Ag")) == pytest.approx(-3.0)

    def test_stored_structures_are_the_crystals_in_the_order_of_names(self, tmp_path: Path) -> None:
        crystals = [("salt", rocksalt()), ("blende", zincblende()), ("other", rocksalt("K", "Cl", 6.3))]
        built(tmp_path / "a.npz", crystals, entries=SALT, keep_structures=True)
        expected = [rocksalt("K", "Cl", 6.3), zincblende(), rocksalt()]  # by formula, then by name
        for crystal, original in zip(stored(tmp_path / "a.npz"), expected, strict=True):
            assert crystal.matches(original, scale=False)
        built(tmp_path / "b.npz", crystals, entries=SALT)
        with np.load(tmp_path / "b.npz") as data:
            assert not [name for name in data if name.startswith("structure")]

    def test_no_energy_at_all_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="told to fail"):
            built(tmp_path / "a.npz", [("gold", fcc("Au"))], relaxer=Recording())

    def test_progress_rises_to_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("matinvent.screening.reference_build._PORTION", 2)
        seen: list[float] = []
        built(tmp_path / "a.npz", [("x", rocksalt())] * 5, entries=SALT, progress=seen.append)
        assert seen == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def stored(path: Path) -> list[Structure]:
    """The structures in a file, by the documented arrays alone."""
    with np.load(path) as data:
        offsets, numbers = data["structure_offsets"], data["structure_numbers"]
        frac, lattices = data["structure_frac"], data["structure_lattices"]
    spans = zip(offsets[:-1], offsets[1:], lattices, strict=True)
    return [Structure(Lattice(vectors), numbers[a:b].tolist(), frac[a:b]) for a, b, vectors in spans]


def energy_table(path: Path, rows: Sequence[tuple[Any, Any]]) -> Path:
    """A table of formulas and energies in the format that the name tells."""
    if path.suffix == ".csv":
        lines = ["formula,id,energy_per_atom", *(f"{formula},x,{energy}" for formula, energy in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        formulas, energies = zip(*rows, strict=True)
        parquet.write_table(pa.table({"formula": formulas, "energy_per_atom": energies}), path)
    return path


class TestTables:
    @pytest.mark.parametrize("name", ["e.csv", "e.parquet"])
    def test_energies_are_read(self, tmp_path: Path, name: str) -> None:
        read = read_energies(energy_table(tmp_path / name, [("NaN", -4.0), ("Na2", -1.3)]))
        assert read.energies.tolist() == [-4.0, -1.3]
        assert read.fractions[:, [7, 11]].tolist() == [[0.5, 0.5], [0.0, 1.0]]

    @pytest.mark.parametrize("name", ["e.csv", "e.parquet"])
    @pytest.mark.parametrize(
        ("energy", "complaint"),
        [(float("nan"), "row 2.*nan"), (float("inf"), "row 2.*inf"), (-2345.6, "row 2.*eV/atom is expected")],
    )
    def test_energies_that_cannot_be_are_named_with_their_row(
        self, tmp_path: Path, name: str, energy: float, complaint: str
    ) -> None:
        with pytest.raises(InputError, match=complaint):
            read_energies(energy_table(tmp_path / name, [("Na", -1.3), ("Cl", energy), ("K", -1.0)]))

    def test_text_and_gaps_are_named_with_their_row(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"row 1.*'low'"):
            read_energies(energy_table(tmp_path / "e.csv", [("Na", "low")]))
        with pytest.raises(InputError, match=r"row 2.*''"):
            read_energies(energy_table(tmp_path / "f.csv", [("Na", -1.3), ("K", "")]))
        with pytest.raises(InputError, match=r"row 2.*None"):
            read_energies(energy_table(tmp_path / "e.parquet", [("Na", -1.3), ("K", None)]))

    @pytest.mark.parametrize("formula", ["Xx2O", "", "Li0.3337CoO2.0001"])
    def test_formulas_that_are_none_are_errors(self, tmp_path: Path, formula: str) -> None:
        with pytest.raises(InputError, match=r"e\.csv"):
            read_energies(energy_table(tmp_path / "e.csv", [("Na", -1.3), (formula, -1.0)]))

    def test_missing_files_and_columns_are_named(self, tmp_path: Path) -> None:
        energies = energy_table(tmp_path / "e.parquet", [("Na", -1.3)])
        with pytest.raises(InputError, match=r"frac_coords.*--energies"):
            StructureTable(energies)
        (tmp_path / "e.csv").write_text("formula;energy_per_atom\nNa;-1\n", encoding="utf-8")
        with pytest.raises(InputError, match="needs the columns formula, energy_per_atom"):
            read_energies(tmp_path / "e.csv")
        (tmp_path / "text.parquet").write_text("no table", encoding="utf-8")
        for path in (tmp_path / "text.parquet", tmp_path / "none.parquet", tmp_path / "none.csv"):
            with pytest.raises(InputError, match=path.name):
                read_energies(path)

    def test_a_bad_row_of_structures_is_a_failure_in_its_place(self, tmp_path: Path) -> None:
        rows = {
            "material_id": ["good", "short", None, "alien"],
            "species": [["Na", "Cl"], ["Na", "Cl"], ["Na"], ["Xx"]],
            "abc": [[4.0, 4.0, 4.0]] * 4,
            "angles": [[90.0, 90.0, 90.0]] * 4,
            "frac_coords": [[0.0, 0, 0, 0.5, 0.5, 0.5], [0.0, 0, 0], [0.0, 0, 0], [0.0, 0, 0]],
        }
        parquet.write_table(pa.table(rows), tmp_path / "s.parquet")
        table = StructureTable(tmp_path / "s.parquet")
        assert len(table) == 4
        assert [name for name, _ in table] == ["good", "short", "s.parquet row 3", "alien"]
        reference, account = built(tmp_path / "a.npz", list(table), entries=SALT)
        assert [(name, failure.kind) for name, failure in account.left_out] == [
            ("short", "unreadable"),
            ("alien", "unknown-element"),
        ]
        assert len(reference) == 2


def interrupting_calculator() -> Any:
    """EMT that presses Ctrl-C at the first crystal with silver, if the environment says so."""
    from ase.calculators.emt import EMT

    class Interrupting(EMT):
        def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
            if "Ag" in atoms.get_chemical_symbols() and os.environ.pop("PRESS", None):
                os.kill(os.getpid(), signal.SIGINT)
            super().calculate(atoms, *args, **kwargs)

    return Interrupting()


EMT = ("--set", "screening.relaxation.potential=tests.unit.test_reference_build:interrupting_calculator")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CIF files of metals and one that is none."""
    path = tmp_path / "known"
    path.mkdir()
    for name, crystal in CRYSTALS.items():
        crystal.to(filename=str(path / f"{name}.cif"))
    (path / "broken.cif").write_text("data_nothing\n", encoding="utf-8")
    return path


def command(*arguments: Any) -> int:
    try:
        main(["reference", *map(str, arguments)])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


class TestCommand:
    def test_energies_are_computed_from_files(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, more in (("still.npz", ()), ("relaxed.npz", ("--relax",))):
            assert command("build", folder, "-o", tmp_path / name, *more, *EMT, "--workers", 1) == 0
        text = capsys.readouterr()
        assert "broken.cif" in text.err
        assert "screening.reference=" in text.out
        still, relaxed = (ReferenceSet.load(tmp_path / name) for name in ("still.npz", "relaxed.npz"))
        assert len(still) == len(relaxed) == 4
        copper = Composition("Cu")
        before, after = still.hull.hull_energy(copper), relaxed.hull.hull_energy(copper)
        assert isinstance(before, float)
        assert isinstance(after, float)
        assert after < before - 0.001  # it was given strained
        placed = relaxed.hull.energy_above_hull(Composition("CuAu"), 0.0)
        assert isinstance(placed, HullResult)
        assert list(placed.decomposition) == ["CuAu"]
        assert not list(tmp_path.glob("*.jsonl"))

    def test_after_an_interruption_the_same_command_continues(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ("build", folder, "--relax", *EMT, "--workers", 1, "--keep-structures", "-o")
        assert command(*arguments, tmp_path / "whole.npz") == 0
        monkeypatch.setenv("PRESS", "1")
        assert command(*arguments, tmp_path / "cut.npz") == 1
        assert "same command continues" in capsys.readouterr().err
        journal = tmp_path / "cut.npz.journal.jsonl"
        assert 1 < len(journal.read_text(encoding="utf-8").splitlines()) <= 5
        assert not (tmp_path / "cut.npz").exists()
        assert command(*arguments, tmp_path / "cut.npz") == 0
        assert "Continuing with the energies in" in capsys.readouterr().err
        assert not journal.exists()
        assert (tmp_path / "cut.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()

    def test_energies_are_given(self, folder: Path, tmp_path: Path) -> None:
        table = energy_table(tmp_path / "e.csv", [("Cu", -3.7), ("Au", -3.2), ("Ag", -2.8), ("AgAu", -3.1)])
        out = tmp_path / "given.npz"
        assert command("build", folder, "--energies", table, "-o", out, "--potential", "pbe") == 0
        reference = ReferenceSet.load(out)
        assert reference.potential == "pbe"
        assert reference.is_known(ordered_alloy())
        assert reference.hull.hull_energy(Composition("CuAu")) == pytest.approx(-3.45, abs=1e-6)

    def test_the_hull_of_another_set_is_taken_over(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "more.npz"
        assert command("build", folder, "--energies", "mp", "-o", out) == 0
        reference, shipped = ReferenceSet.load(out), ReferenceSet.load("mp")
        assert reference.potential == shipped.potential
        assert len(reference.hull) == len(shipped.hull)
        assert len(reference) == 4
        assert command("build", folder, "--energies", out, "--relax", *EMT, "-o", tmp_path / "mixed.npz") == 2
        assert "cannot be mixed" in " ".join(capsys.readouterr().err.split())

    def test_several_sources_at_once(self, folder: Path, tmp_path: Path) -> None:
        rows = {
            "material_id": ["salt"],
            "species": [["Na", "Cl"]],
            "abc": [[3.99, 3.99, 3.99]],
            "angles": [[60.0, 60.0, 60.0]],
            "frac_coords": [[0.0, 0.0, 0.0, 0.5, 0.5, 0.5]],
        }
        parquet.write_table(pa.table(rows), tmp_path / "s.parquet")
        table = energy_table(tmp_path / "e.csv", [("NaCl", -3.4)])
        out = tmp_path / "both.npz"
        assert command("build", folder, tmp_path / "s.parquet", "--energies", table, "-o", out) == 0
        reference = ReferenceSet.load(out)
        assert reference.is_known(rocksalt())
        assert reference.is_known(fcc("Au"))

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (("--energies", "e.csv", "--set", "screening.relaxation.fmax=0.05"), "add --relax"),
            (("--set", "screening.novelty=false"), "screening.relaxation"),
            ((*EMT, "--workers", 1, "--potential", "pbe"), "one scale"),
            (("--energies", "none.csv"), "no such file"),
        ],
    )
    def test_contradictions_are_errors_before_any_work(
        self,
        folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: Sequence[Any],
        complaint: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        energy_table(tmp_path / "e.csv", [("Cu", -3.7)])
        assert command("build", folder, "-o", "out.npz", *arguments) == 2
        assert complaint in " ".join(capsys.readouterr().err.split())
        assert not list(tmp_path.glob("out.npz*"))

    def test_nothing_is_overwritten(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "mine.npz").write_text("dear", encoding="utf-8")
        assert command("build", folder, "-o", tmp_path / "mine.npz", *EMT) == 2
        assert (tmp_path / "mine.npz").read_text(encoding="utf-8") == "dear"

    def test_a_set_is_described(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert command("show") == 0
        assert "chgnet-0.3.0" in capsys.readouterr().out
        built(tmp_path / "a.npz", [("salt", rocksalt())], entries=entries({"Na": -1.3, "NaCl": -3.4}), made_from="me")
        assert command("show", tmp_path / "a.npz") == 0
        text = capsys.readouterr().out
        assert all(word in text for word in ("1 of 1 formulas", "2: Na Cl", "without pure phase", "me"))
        assert command("show", tmp_path / "none.npz") == 2


@pytest.mark.parametrize("portion", [1, 3, 2000])
def test_portions_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int) -> None:
    monkeypatch.setattr("matinvent.screening.reference_build._PORTION", portion)
    reference, account = built(tmp_path / "a.npz", list(CRYSTALS.items()), relaxer=Recording())
    assert isinstance(reference.hull, Hull)
    assert len(reference) == 4
    assert len(account.without_energy) == 2
