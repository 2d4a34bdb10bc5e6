"""``matinvent predictor``: from a table to a model that can be designed for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from matinvent.cli import main
from matinvent.cli.label_tables import read_labels
from matinvent.errors import Failure, InputError
from matinvent.predictors.ensemble import read_card
from matinvent.properties.registry import create

ELEMENTS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Al", "Ga", "Ti", "V", "Mn", "Fe", "Ni", "Zn", "Zr", "Ag", "Y", "Ba"]
ANIONS = ["N", "O", "F", "S", "Cl", "Se", "Br"]


def crystals() -> list[Structure]:
    """Two rock salts and a zinc blende of each pair, in primitive cells."""
    face_centred = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    return [
        Structure(Lattice(a * face_centred), [metal, anion], [[0] * 3, [place] * 3])
        for metal in ELEMENTS
        for anion in ANIONS
        for a, place in ((4.4, 0.5), (5.0, 0.5), (5.2, 0.25))
    ]


def invoke(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code or 0


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """A table of structures as text, with a target that follows volume and composition, and some bad rows."""
    folder = tmp_path_factory.mktemp("labels")
    structures = crystals()
    rng = np.random.default_rng(0)
    values = [1000 / s.volume * rng.lognormal(0, 0.02) for s in structures]
    table = pd.DataFrame({"structure": [s.to(fmt="poscar") for s in structures], "hardness": values})
    table["hardness"] = table["hardness"].astype(object)
    table.loc[3, "hardness"] = ""
    table.loc[4, "hardness"] = 8e11
    table.loc[5, "structure"] = "no crystal"
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def model(labels):
    output = labels.parent / "hardness.safetensors"
    code = invoke(
        "predictor", "train", labels, "--property", "hardness", "--unit", "GPa", "--transform", "log10", "--range", 0,
        1e6, "--output", output, "--features", labels.parent / "features.npz", "--epochs", 40, "--workers", 1,
        "--source", "arithmetic",
    )  # fmt: skip
    assert code == 0
    return output


def test_a_users_property_in_one_command(model, labels):
    card = read_card(model)
    assert (card.name, card.unit, card.target) == ("hardness", "GPa", "log10")
    assert card.metrics["r2_learned"] > 0.9
    assert "hardness outside of 0 .. 1e+06: 1" in card.training["data"]
    assert "no hardness: 1" in card.training["data"]
    assert "unreadable: 1" in card.training["data"]
    assert "test MAE" in model.with_suffix(".md").read_text(encoding="utf-8")
    evaluator = create("predictor:hardness", {"model": str(model)})
    (crystal,) = (s for s in crystals()[:1])
    (result,) = evaluator.evaluate([crystal])
    assert not isinstance(result, Failure)
    assert result["hardness"] == pytest.approx(1000 / crystal.volume, rel=0.25)


def test_nothing_is_overwritten(model, labels, capsys):
    assert invoke("predictor", "train", labels, "--property", "hardness", "-o", model) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_show_and_list(model, capsys):
    assert invoke("predictor", "show", model) == 0
    assert "arithmetic" in capsys.readouterr().out
    assert invoke("predictor", "list") == 0
    assert "band_gap" in capsys.readouterr().out
    assert invoke("predictor", "show", "nothing") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--property", "strength"], "no column 'strength'"),
        (["--property", "hardness", "--target", "structure"], "no number but"),
        (["--property", "hardness", "--range", "5", "1"], "second must be larger"),
        (["--property", "hardness", "--range", "1e20", "1e21"], "no row"),
        (["--property", "hardness", "--transform", "cube"], "no transform 'cube'"),
        (["--property", "hard ness", "--target", "hardness"], "letters, digits"),
        (["--property", "hardness", "--kind", "pu"], "1 (positive) and 0"),
        (["--property", "hardness", "--kind", "pu", "--transform", "log10"], "has no transform"),
        (["--property", "hardness", "--structures", "x.parquet"], "no column 'material_id'"),
    ],
)
def test_mistakes_are_named(labels, tmp_path, capsys, arguments, message):
    assert invoke("predictor", "train", labels, *arguments, "-o", tmp_path / "x.safetensors") == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_crystals_come_by_id_by_file_or_as_text(tmp_path):
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    (tmp_path / "cifs").mkdir()
    salt.to(str(tmp_path / "cifs" / "mp-1.cif"), fmt="cif")
    pd.DataFrame({
        "material_id": ["mp-1"], "species": [["Na", "N"]], "abc": [[3.0, 3.0, 3.0]], "angles": [[90.0] * 3],
        "frac_coords": [[0.0, 0.0, 0.0, 0.5, 0.5, 0.5]],
    }).to_parquet(tmp_path / "crystals.parquet")  # fmt: skip
    pd.DataFrame({"material_id": ["mp-1", "mp-2"], "formula": ["NaN", "NaN"], "x": [1.5, 2.5]}).to_csv(
        tmp_path / "ids.csv", index=False
    )
    everything = (-np.inf, np.inf)
    by_id = read_labels(tmp_path / "ids.csv", "x", everything, tmp_path / "crystals.parquet")
    assert (by_id.names, by_id.values, by_id.dropped) == (["mp-1"], [1.5], {"no structure": 1})
    assert by_id.structures[0].composition.reduced_formula == "NaN"
    assert len(read_labels(tmp_path / "ids.csv", "x", everything, tmp_path / "cifs").structures[0]) == 8
    pd.DataFrame({"file": ["cifs/mp-1.cif", "gone.cif"], "x": [1.0, 2.0]}).to_parquet(tmp_path / "files.parquet")
    by_file = read_labels(tmp_path / "files.parquet", "x", everything)
    assert (by_file.values, by_file.dropped) == ([1.0], {"no structure": 1})
    texts = [salt.to(fmt="cif"), salt.to(fmt="poscar"), salt.to(fmt="json")]
    pd.DataFrame({"structure": texts, "x": [1, 2, 3]}).to_parquet(tmp_path / "texts.parquet")
    assert [len(s) for s in read_labels(tmp_path / "texts.parquet", "x", everything).structures] == [8, 8, 8]
    with pytest.raises(InputError, match="where are the structures"):
        read_labels(tmp_path / "ids.csv", "x", everything)
