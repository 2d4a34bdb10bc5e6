"""``matinvent evaluate``: every crystal gets its row, every number is right, and no interruption costs a relaxation."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import zipfile
from collections.abc import Sequence
from pathlib import Path

import ase.io
import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import SALTS, displaced, rocksalt, salt_reference, zincblende

from matinvent.cli import main
from matinvent.cli.structure_files import read_structures, write_structures
from matinvent.errors import Failure
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.relaxation import OnResult, Progress, Relaxation

#: KCl 0.05 below, LiCl 0.05 and LiF 0.2 above the hull; KCl2 0.1 below, without balanced charges.
ENERGIES = SALTS | {"KCl": -3.35, "LiCl": -3.55, "LiF": -4.6, "KCl2": -2.3, "RbCl": -3.0}


class SaltRelaxer:
    """Swells crystals by a tenth and gives them known energies; ``at_result`` is told how many are done."""

    potential = "still"

    def __init__(self) -> None:
        self.relaxed: list[str] = []
        self.closed = 0
        self.at_result = lambda count: None

    def relax(
        self,
        structures: Sequence[Structure],
        progress: Progress | None = None,
        *,
        ceilings: Sequence[float | None] | None = None,
        on_result: OnResult | None = None,
    ) -> list[Relaxation | Failure]:
        assert on_result is not None
        assert progress is not None
        results = []
        for index, structure in enumerate(structures):
            self.relaxed.append(structure.composition.reduced_formula)
            results.append(self._one(structure))
            on_result(index, results[-1])
            self.at_result(len(self.relaxed))
            progress(len(results) / len(structures))
        return results

    def close(self) -> None:
        self.closed += 1

    def _one(self, structure: Structure) -> Relaxation | Failure:
        name = structure.composition.reduced_formula
        if name == "KF":
            return Failure("not-finite", "no energy")
        swollen = structure.copy()
        swollen.scale_lattice(1.1 * structure.volume)
        return Relaxation(swollen, ENERGIES[name] * len(structure), name != "LiF", 7, 0.05, 0.2)


@pytest.fixture(autouse=True)
def relaxer(monkeypatch, tmp_path) -> SaltRelaxer:
    import matinvent.screening.relaxation

    world = SaltRelaxer()
    monkeypatch.setattr(matinvent.screening.relaxation, "make_relaxer", lambda config, workers: world)
    monkeypatch.setattr(ReferenceSet, "load", lambda source: salt_reference())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("MATINVENT_DEBUG", raising=False)
    return world


def invoke(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code or 0


def sample() -> list[Structure]:
    return [
        rocksalt("Na", "Cl", 5.45),  # known once swollen, on the hull
        rocksalt("K", "Cl", 6.3),  # below the hull, novel
        displaced(rocksalt("K", "Cl", 6.2), 0.01, seed=0),  # the same again
        zincblende("K", "Cl", 6.9),  # another polymorph
        rocksalt("Li", "Cl", 5.1),  # metastable
        rocksalt("Li", "F", 4.0),  # unstable, not converged
        rocksalt("K", "F"),  # fails in the relaxation
        rocksalt("Rb", "Cl", 6.6),  # the reference knows no rubidium
        Structure(Lattice.cubic(5), ["K", "Cl", "Cl"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]]),
        Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.02]]),  # overlap
    ]


@pytest.fixture
def crystals(tmp_path) -> Path:
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, structure in enumerate(sample()):
            archive.writestr(f"{number:02d}.cif", structure.to(fmt="cif"))
        archive.writestr("99.cif", "nonsense")
    return path


def rows(folder: str) -> list[dict[str, str]]:
    with Path(folder, "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def metrics(folder: str) -> dict:
    return json.loads(Path(folder, "metrics.json").read_text(encoding="utf-8"))


def counts(folder: str) -> dict[str, int | None]:
    return {name: values["count"] for name, values in metrics(folder)["counts"].items()}


def files(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_every_crystal_has_a_row_with_its_story(crystals, relaxer, capsys):
    assert invoke("evaluate", crystals, "-o", "out") == 0
    table = rows("out")
    assert [row["source"] for row in table] == [f"{crystals}/{n:02d}.cif" for n in [*range(10), 99]]
    assert [row["fate"] for row in table] == [
        "known", "survived", "duplicate", "survived", "survived", "unstable", "relax_failed", "unstable", "survived",
        "invalid", "invalid",
    ]  # fmt: skip
    assert [row["sun"] for row in table] == [str(n in {1, 3, 4}) for n in range(11)]
    salt, first, again, _, _, fluoride, failed, rubidium, unbalanced, overlap, unreadable = table
    assert (salt["known_as"], salt["space_group"], salt["atoms"]) == ("halite", "Fm-3m (225)", "8")
    assert again["duplicate_of"] == first["source"]
    assert float(first["e_above_hull"]) == pytest.approx(-0.05)
    assert first["decomposition"] == "1.00 KCl"
    assert (first["converged"], first["relax_steps"], first["rmsd"]) == ("True", "7", "0.2")
    assert float(first["volume_change"]) == pytest.approx(0.1)
    assert (fluoride["converged"], fluoride["given_up"]) == ("False", "False")
    assert failed["reason"] == "not-finite: no energy"
    assert "Rb" in rubidium["reason"]
    assert unbalanced["charge_balanced"] == "False"
    assert overlap["reason"].startswith("overlap")
    assert (unreadable["formula"], unreadable["charge_balanced"], unreadable["relaxed"]) == ("", "", "")
    assert unreadable["reason"].startswith("unreadable")
    assert "99.cif: unreadable" in capsys.readouterr().err
    assert relaxer.closed == 1


def test_counts_spreads_and_coverage(crystals):
    assert invoke("evaluate", crystals, "-o", "out") == 0
    assert counts("out") == {
        "sampled": 11, "built": 10, "valid": 9, "smact": 9, "valid_smact": 8, "relaxed": 8, "converged": 7,
        "given_up": None, "placed": 7, "unique": 7, "novel": 7, "stable": 4, "metastable": 6,
        "unique_metastable": 5, "novel_metastable": 5, "sun_stable": 3, "sun_any_charge": 4, "sun": 3,
    }  # fmt: skip
    found = metrics("out")
    assert found["counts"]["sun"] == pytest.approx(
        {"count": 3, "of": "sampled", "share": 3 / 11, "low": 0.0975, "high": 0.5656}, abs=1e-4
    )
    assert found["counts"]["converged"]["share"] == 7 / 8
    spread = found["spreads"]["e_above_hull"]
    assert spread["n"] == 7
    assert spread["mean"] == pytest.approx((0 - 0.05 * 3 + 0.05 + 0.2 - 0.1) / 7, abs=1e-6)
    assert spread["quantiles"]["0.5"] == spread["median"] == pytest.approx(-0.05, abs=1e-6)
    assert found["spreads"]["volume_change"]["mean"] == pytest.approx(0.1)
    assert found["coverage"] == {"elements": 6, "formulas": 6, "chemical_systems": 5, "space_groups": 3}
    assert found["failures"] == {"unreadable": 1, "overlap": 1, "not-finite": 1, "missing-reference": 1}
    with Path("out/metrics.csv").open(encoding="utf-8", newline="") as file:
        values = {row["metric"]: row["value"] for row in csv.DictReader(file)}
    assert (values["sun"], values["coverage: elements"], values["failures: overlap"]) == ("3", "6", "1")
    assert float(values["e_above_hull_mean"]) == spread["mean"]


def test_relaxed_crystals_go_on_in_pymatgen_and_ase(crystals):
    assert invoke("evaluate", crystals, "-o", "out") == 0
    relaxed = [row for row in rows("out") if row["relaxed"]]
    frames = ase.io.read("out/relaxed.extxyz", index=":")
    assert len(relaxed) == len(frames) == len(list(Path("out/relaxed").iterdir())) == 8
    for row, atoms in zip(relaxed, frames, strict=True):
        structure = Structure.from_file(Path("out", row["relaxed"]))
        assert structure.volume == pytest.approx(atoms.get_volume(), rel=1e-5)
        assert atoms.get_potential_energy() == pytest.approx(float(row["energy_per_atom"]) * len(atoms))
        assert (atoms.info["source"], atoms.info["fate"]) == (row["source"], row["fate"])
    assert len(read_structures([Path("out/relaxed.extxyz")])) == 8


def test_the_table_fits_a_terminal_and_names_its_conditions(crystals, capsys):
    assert invoke("evaluate", crystals, "-o", "out") == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the last one names folders
    cells = {c[0].strip(): [x.strip() for x in c[1:]] for c in (line.split("│")[1:-1] for line in lines) if len(c) == 4}
    assert cells["read"] == ["10", "90.9 %", "62.3 % - 98.4 %"]
    assert cells["SUN at 0.1, charge-balanced"][:2] == ["3", "27.3 %"]
    assert "given up" not in text
    assert "Relaxed with still to forces below 0.1 eV/A in at most" in text
    assert "Reference set 'mp': 1 known crystals, 11 on the hull" in text
    assert "unreadable 1" in text


def settings(folder: str) -> dict:
    return metrics(folder)["conditions"]["screening"]


def test_every_crystal_is_carried_to_its_end_unless_told_otherwise(crystals):
    assert invoke("evaluate", crystals, "-o", "out") == 0
    found = settings("out")
    assert found["exhaustive"]
    assert not found["relaxation"]["give_up"]
    assert not found["validity"]["smact"]
    changes = ("exhaustive=false", "relaxation.give_up=true", "relaxation.fmax=0.05", "max_e_above_hull=0.01")
    assert invoke("evaluate", crystals, "-o", "other", *(f"--set=screening.{change}" for change in changes)) == 0
    found = settings("other")
    assert found["exhaustive"]  # shares of a sample screened in part would not be what they are called
    assert found["relaxation"]["give_up"]
    assert found["relaxation"]["fmax"] == 0.05
    assert counts("other")["given_up"] == 0
    assert metrics("other")["limit"] == 0.01
    assert counts("other")["metastable"] == 5  # LiCl is no longer


def test_with_smact_on_unbalanced_crystals_are_not_relaxed(crystals, relaxer, capsys):
    assert invoke("evaluate", crystals, "-o", "out", "--set", "screening.validity.smact=true") == 0
    assert "KCl2" not in relaxer.relaxed
    found = counts("out")
    assert (found["valid"], found["valid_smact"], found["relaxed"], found["sun"]) == (9, 8, 7, 3)
    assert found["sun_any_charge"] is None
    assert "charges do not balance were not relaxed" in capsys.readouterr().out


def test_crystals_can_be_judged_as_they_are(crystals, capsys):
    change = "screening.relaxation.enabled=false"
    assert invoke("evaluate", crystals, "-o", "out", "--set", change) == 0
    assert counts("out")["metastable"] == 6
    assert counts("out")["converged"] is None
    assert not any(row["relaxed"] for row in rows("out"))
    assert "Not relaxed" in capsys.readouterr().out


def test_without_stability_nothing_is_said_of_it(crystals, capsys):
    assert invoke("evaluate", crystals, "-o", "out", "--set", "screening.stability=false") == 0
    found = counts("out")
    assert (found["relaxed"], found["unique"], found["metastable"], found["sun"]) == (8, 7, None, None)
    assert "SUN" not in capsys.readouterr().out


def test_evaluations_are_numbered_and_never_overwritten(crystals, tmp_path, capsys):
    assert invoke("evaluate", crystals) == 0
    assert invoke("evaluate", crystals) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"evaluate-1", "evaluate-2"}
    before = files("runs/evaluate-1")
    assert invoke("evaluate", crystals, "--output", "runs/evaluate-1") == 2
    assert "exists already" in capsys.readouterr().err
    assert files("runs/evaluate-1") == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["bad.cif"], "none of the files can be read"),
        (["in.zip", "--set", "learning.sigma=1"], "only screening settings apply here"),
        (["in.zip", "--set", "screening.novlty=false"], "did you mean 'novelty'?"),
        (["in.zip", "--set", "screening.enabled=false"], "nothing would be evaluated"),
        (["in.zip", "--resume"], "--resume needs --output"),
        (["in.zip", "--resume", "-o", "mine"], "no evaluation to resume in it"),
        (["in.zip", "--resume", "-o", "bad.cif"], "no evaluation to resume in it"),
    ],
)
def test_impossible_evaluations_are_refused(crystals, relaxer, tmp_path, capsys, arguments, said):
    (tmp_path / "bad.cif").write_text("nonsense", encoding="utf-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine", encoding="utf-8")
    before = files(".")
    assert invoke("evaluate", *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert files(".") == before
    assert relaxer.relaxed == []


def test_energies_of_another_potential_leave_no_folder(crystals, relaxer, tmp_path, capsys):
    relaxer.potential = "another"
    assert invoke("evaluate", crystals, "-o", "out") == 2
    assert "reference build" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert relaxer.closed == 1


def test_many_unreadable_crystals_do_not_flood_the_terminal(tmp_path, capsys):
    folder = tmp_path / "many"
    folder.mkdir()
    write_structures([rocksalt()], folder / "good.extxyz")
    for number in range(30):
        (folder / f"{number}.cif").write_text("nonsense", encoding="utf-8")
    assert invoke("evaluate", folder, "-o", "out") == 0
    said = capsys.readouterr().err
    assert said.count("unreadable: ") == 10
    assert "20 more" in said
    assert len(rows("out")) == 31


# ------------------------------------------------------------------------------------------------------ interruptions


def killed(crystals: Path, relaxer: SaltRelaxer, after: int) -> None:
    """An evaluation into ``out`` that SIGKILL ends, in a process of its own."""
    child = os.fork()
    if child == 0:
        relaxer.at_result = lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == after else None
        main(["evaluate", str(crystals), "-o", "out"])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("after", [1, 4, 9])
def test_after_a_kill_no_relaxation_is_repeated_and_the_result_is_the_same(crystals, relaxer, after):
    killed(crystals, relaxer, after)
    assert invoke("evaluate", crystals, "-o", "out", "--resume") == 0
    assert len(relaxer.relaxed) == 9 - after
    assert invoke("evaluate", crystals, "-o", "whole") == 0
    assert files("out") == files("whole")


def test_an_unfinished_evaluation_is_never_started_anew(crystals, relaxer, capsys):
    killed(crystals, relaxer, 4)
    before = files("out")
    assert invoke("evaluate", crystals, "-o", "out") == 2
    assert "unfinished evaluation; continue it with --resume" in capsys.readouterr().err
    other = "screening.relaxation.fmax=0.05"
    assert invoke("evaluate", crystals, "-o", "out", "--resume", "--set", other) == 2
    assert "other settings" in capsys.readouterr().err
    assert files("out") == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_politely_and_says_how_to_go_on(crystals, relaxer, capsys, number):
    relaxer.at_result = lambda count: signal.raise_signal(number) if count == 3 else None
    change = "--set=screening.workers=1"
    assert invoke("evaluate", crystals, change, "-o", "out") == 1
    said = capsys.readouterr().err
    assert "3 relaxations are kept" in said
    command = said[said.index("matinvent evaluate") :].strip()
    assert command == f"matinvent evaluate {crystals} {change} --output out --resume"
    assert relaxer.closed == 1
    assert invoke(*command.split()[1:]) == 0
    assert len(relaxer.relaxed) == 9
    assert counts("out")["relaxed"] == 8


def test_a_finished_evaluation_is_shown_again(crystals, relaxer, capsys):
    assert invoke("evaluate", crystals, "-o", "out") == 0
    first, before, done = capsys.readouterr().out, files("out"), len(relaxer.relaxed)
    assert "journal.jsonl" not in before
    assert invoke("evaluate", crystals, "-o", "out", "--resume") == 0
    again = capsys.readouterr().out
    assert "finished" in again
    assert again.splitlines()[1:] == first.splitlines()[1:]
    assert files("out") == before
    assert len(relaxer.relaxed) == done


def test_the_same_command_with_resume_may_be_the_first(crystals, tmp_path):
    (tmp_path / "empty").mkdir()
    assert invoke("evaluate", crystals, "-o", "new", "--resume") == 0
    assert invoke("evaluate", crystals, "-o", "empty", "--resume") == 0
    assert files("new") == files("empty")


def test_a_full_disk_at_the_end_costs_no_relaxation(crystals, relaxer, monkeypatch, capsys):
    import matinvent.reporting.quality_report

    def full(metrics, folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "metrics.csv"))

    with monkeypatch.context() as world:
        world.setattr(matinvent.reporting.quality_report, "write_metrics", full)
        assert invoke("evaluate", crystals, "-o", "out") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "out/metrics.csv: No space left on device; the relaxations are safe" in said
    assert "--resume" in said
    assert invoke("evaluate", crystals, "-o", "out", "--resume") == 0
    assert len(relaxer.relaxed) == 9
    assert invoke("evaluate", crystals, "-o", "whole") == 0
    assert files("out") == files("whole")


def test_a_damaged_report_is_named(crystals, capsys):
    assert invoke("evaluate", crystals, "-o", "out") == 0
    Path("out/metrics.json").write_text("{}", encoding="utf-8")
    assert invoke("evaluate", crystals, "-o", "out", "--resume") == 2
    assert "metrics.json: not a report" in capsys.readouterr().err
