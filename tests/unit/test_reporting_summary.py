"""The end of a campaign: best crystals on disk, nobody's files harmed, and the way on."""

from __future__ import annotations

import csv
import io

import pytest
from pymatgen.core import Lattice, Structure
from rich.console import Console

from matinvent.candidate import Candidate, Fate
from matinvent.errors import InputError
from matinvent.reporting.events import CampaignSummary
from matinvent.reporting.summary import final_report, write_best
from matinvent.reporting.symmetry import space_group


def cubic(kind: str, edge: float, species: list[str], coords: list[list[float]]) -> Structure:
    """Primitive cell of a centred cubic crystal with the conventional edge (A)."""
    half = edge / 2
    vectors = {
        "face": [[0, half, half], [half, 0, half], [half, half, 0]],
        "body": [[-half, half, half], [half, -half, half], [half, half, -half]],
    }
    return Structure(Lattice(vectors[kind]), species, coords)


def rock_salt(anion: str = "Cl") -> Structure:
    return cubic("face", 5.64, ["Na", anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def candidate(reward: float, anion: str = "Cl") -> Candidate:
    return Candidate(
        2, 7, rock_salt(anion), relaxed=rock_salt(anion), fate=Fate.SCORED,
        e_above_hull=-0.0123, properties={"density": 2.163}, reward=reward, credit=reward,
    )  # fmt: skip


def summary(directory, *best: Candidate, stopped: str = "finished") -> CampaignSummary:
    return CampaignSummary(directory, 16, 192, stopped, best, "density of 18 g/cm^3")


def shown(of: CampaignSummary) -> str:
    text = io.StringIO()
    Console(file=text, width=90).print(final_report(of, write_best(of)), crop=False)
    return text.getvalue()


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (rock_salt(), "Fm-3m (225)"),
        (cubic("face", 5.43, ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]]), "Fd-3m (227)"),
        (cubic("body", 2.87, ["Fe"], [[0, 0, 0]]), "Im-3m (229)"),
        (Structure(Lattice.cubic(3), ["H", "H"], [[0, 0, 0], [0, 0, 0]]), ""),
    ],
)
def test_space_groups_of_known_crystals(structure, expected):
    assert space_group(structure) == expected


def test_space_groups_tolerate_what_a_relaxation_leaves():
    assert space_group(rock_salt().perturb(0.01)) == "Fm-3m (225)"


def test_best_crystals_read_back(tmp_path):
    entries = write_best(summary(tmp_path, candidate(0.9), candidate(0.8, "Br")))
    assert [entry.file.name for entry in entries] == ["01_NaCl.cif", "02_NaBr.cif"]
    for entry, anion in zip(entries, ("Cl", "Br"), strict=True):
        read = Structure.from_file(tmp_path / entry.file)
        assert read.composition.reduced_formula == f"Na{anion}"
        assert read.volume == pytest.approx(5.64**3 / 4, rel=1e-4)


def test_the_table_lists_what_was_written(tmp_path):
    write_best(summary(tmp_path, candidate(0.9)))
    with (tmp_path / "best.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "rank": "1", "formula": "NaCl", "space_group": "Fm-3m (225)", "reward": "0.9", "e_above_hull": "-0.0123",
        "iteration": "2", "index": "7", "file": "best/01_NaCl.cif", "density": "2.163",
    }  # fmt: skip


def test_a_later_session_replaces_its_own_files_and_no_others(tmp_path):
    write_best(summary(tmp_path, candidate(0.5, "Br"), candidate(0.4)))
    (tmp_path / "best" / "my notes.cif").write_text("mine", encoding="utf-8")
    write_best(summary(tmp_path, candidate(0.9)))
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["01_NaCl.cif", "my notes.cif"]
    assert (tmp_path / "best" / "my notes.cif").read_text(encoding="utf-8") == "mine"


def test_a_foreign_file_in_the_way_is_kept(tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "01_NaCl.cif").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"01_NaCl\.cif: is not ours"):
        write_best(summary(tmp_path, candidate(0.9)))
    assert (tmp_path / "best" / "01_NaCl.cif").read_text(encoding="utf-8") == "mine"


def test_links_and_forged_tables_lead_nowhere(tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.mkdir()
    (elsewhere / "precious.cif").write_text("mine", encoding="utf-8")
    (run / "best.csv").write_text("rank,file\n1,../../elsewhere/precious.cif\n", encoding="utf-8")
    write_best(summary(run, candidate(0.9)))
    (run / "linked").mkdir()
    (run / "linked" / "best").symlink_to(elsewhere)
    with pytest.raises(InputError, match="leads out of the run directory"):
        write_best(summary(run / "linked", candidate(0.9)))
    assert [path.name for path in elsewhere.iterdir()] == ["precious.cif"]


def test_the_last_words_say_what_was_found_spent_and_what_next(tmp_path):
    text = shown(summary(tmp_path, candidate(0.9)))
    for word in ("NaCl", "Fm-3m (225)", "0.9", "2.163", "-0.0123", "192 evaluations", "ledger.db", "metrics.csv"):
        assert word in text
    assert "matinvent resume" not in text


def test_an_interrupted_campaign_says_how_to_go_on(tmp_path):
    assert f"matinvent resume {tmp_path}" in shown(summary(tmp_path, candidate(0.9), stopped="interrupted"))


def test_commands_can_be_copied_whatever_the_path(tmp_path):
    directory = tmp_path / ("a path with blanks " * 5).strip()
    directory.mkdir()
    assert f"  matinvent generate 100 --run '{directory}' " in shown(summary(directory, candidate(0.9)))


def test_a_campaign_without_any_score_says_so(tmp_path):
    assert "No crystal has a reward above 0" in shown(summary(tmp_path))
    assert (tmp_path / "best.csv").read_text(encoding="utf-8").count("\n") == 1
