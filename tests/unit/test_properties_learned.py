"""Learned properties of well-known solids, and what they say of crystals that they cannot know."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import rocksalt

from matinvent.errors import CheckpointError, ConfigError, Failure
from matinvent.predictors.catalogue import SPECS, shipped_models
from matinvent.properties import learned
from matinvent.properties.learned import Learned
from matinvent.properties.registry import create, describe
from matinvent.testing.evaluators import check_evaluator

#: Properties learned by networks; the dielectric constant has a model and tests of its own.
NETWORKS = {name for name, spec in SPECS.items() if spec.method == "networks"}


def diamond(element: str, a: float, other: str = "") -> Structure:
    if other:
        return Structure.from_spacegroup("F-43m", Lattice.cubic(a), [element, other], [[0] * 3, [0.25] * 3])
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(a), [element], [[0] * 3])


def cubic(element: str, a: float, group: str = "Fm-3m") -> Structure:
    return Structure.from_spacegroup(group, Lattice.cubic(a), [element], [[0] * 3])


MGO, NACL = rocksalt("Mg", "O", 4.212), rocksalt("Na", "Cl", 5.640)
COPPER, IRON, SILICON = cubic("Cu", 3.615), cubic("Fe", 2.866, "Im-3m"), diamond("Si", 5.431)
GAAS, DIAMOND, LIF = diamond("Ga", 5.653, "As"), diamond("C", 3.567), rocksalt("Li", "F", 4.027)

#: Values of PBE or HSE (gaps, formation energies) or of experiment (the rest). Elements are rare among the labels.
KNOWN = [
    ("band_gap", MGO, 4.4),
    ("band_gap", NACL, 5.0),
    ("band_gap", COPPER, 0.0),
    ("band_gap_hse", MGO, 6.4),
    ("band_gap_hse", LIF, 11.5),
    ("refractive_index", NACL, 1.54),
    ("refractive_index", MGO, 1.74),
    ("dielectric_electronic", NACL, 2.3),
    ("dielectric_electronic", GAAS, 11.0),
    ("bulk_modulus_learned", MGO, 160.0),
    ("bulk_modulus_learned", NACL, 24.0),
    ("bulk_modulus_learned", DIAMOND, 443.0),
    ("shear_modulus_learned", MGO, 131.0),
    ("shear_modulus_learned", NACL, 14.8),
    ("magnetic_density_learned", IRON, 0.189),
    ("magnetic_density_learned", MGO, 0.0),
    ("formation_energy_learned", MGO, -3.0),
    ("formation_energy_learned", NACL, -2.1),
]


@pytest.mark.parametrize(("name", "structure", "value"), KNOWN)
def test_well_known_solids_lie_within_two_deviations(name, structure, value):
    (result,) = create(name, {}).evaluate([structure])
    assert not isinstance(result, Failure), result
    deviation = result[f"{name}_uncertainty"]
    assert deviation < 0.3 * abs(value) + 0.1
    assert abs(result[name] - value) < 2 * deviation + 0.02 * abs(value) + 0.01


def test_what_has_been_made_scores_higher_than_what_cannot_be():
    made = [MGO, NACL, SILICON, GAAS, COPPER]
    scores = [result["synthesizability"] for result in create("synthesizability", {}).evaluate(made)]  # type: ignore[index]
    assert min(scores) > 0.5
    absurd = [rocksalt("Na", "Mg", 4.0), rocksalt("F", "Cl", 5.0), rocksalt("Xe", "O", 5.0)]
    (lowest, *_) = sorted(
        result["synthesizability"]
        for result in create("synthesizability", {}).evaluate(absurd)
        if not isinstance(result, Failure)
    )
    assert lowest < 0.3


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_shipped_predictor_keeps_the_contract(name):
    evaluator = create(name, {})
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    check_evaluator(evaluator, [MGO, GAAS, IRON, disordered])
    assert isinstance(evaluator.evaluate([disordered])[0], Failure)


def test_predictions_belong_to_the_crystal():
    cell = MGO.get_primitive_structure()
    for name in ("band_gap", "synthesizability"):
        one, other = create(name, {}).evaluate([MGO, cell])
        assert not isinstance(one, Failure)
        assert not isinstance(other, Failure)
        assert one[name] == pytest.approx(other[name], rel=1e-3)


def test_unseen_elements_are_failures(monkeypatch):
    evaluator = Learned("band_gap")
    monkeypatch.setattr(evaluator, "_known", evaluator._known - {12})
    oxide, salt = evaluator.evaluate([MGO, NACL])
    assert isinstance(oxide, Failure)
    assert oxide.kind == "unknown-element"
    assert "Mg" in oxide.reason
    assert not isinstance(salt, Failure)


def test_what_is_declared_is_what_the_model_says():
    for name, path in shipped_models().items():
        if name not in NETWORKS:
            continue
        from_file, declared = Learned(str(path)).properties, create(name, {}).properties
        assert from_file == declared


def test_describing_loads_no_model_and_nothing_heavy():
    code = (
        "import sys\n"
        "from matinvent.properties.registry import describe\n"
        "assert 'band_gap' in {info.name for info in describe()}\n"
        "heavy = {'torch', 'pymatgen', 'ase', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_each_says_where_it_comes_from():
    infos = {info.name: info for info in describe() if info.name in NETWORKS}
    assert infos.keys() == NETWORKS
    for info in infos.values():
        assert "Jain et al., APL Mater. 1, 011002 (2013)" in info.source
        assert info.needs == ("relaxed structure", "labels")
        assert info.uncertainty == f"{info.name}_uncertainty"


def test_models_that_are_not_there_or_broken_are_named(tmp_path):
    with pytest.raises(ConfigError, match="band_gap"):
        Learned("nothing")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"12345678{}")
    with pytest.raises(CheckpointError, match="broken"):
        Learned(str(broken))
    assert learned.declare("x", "1", "x.", (0.0, 2.0), "labels")[1].bounds == (0.0, 2.0)
