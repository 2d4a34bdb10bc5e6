"""What predictors see of a crystal belongs to the crystal, not to how it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matinvent.errors import ConfigError, Failure, InputError
from matinvent.predictors import features as features_module
from matinvent.predictors.dataset import FeatureFile
from matinvent.predictors.features import block_names, describe, feature_names
from matinvent.predictors.split import fold_of, formula_key, is_test

RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
ZINCBLENDE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.653), ["Ga", "As"], [[0] * 3, [0.25] * 3])
IRON = Structure(Lattice.cubic(2.866), ["Fe", "Fe"], [[0, 0, 0], [0.5] * 3])


def named(structure: Structure) -> dict[str, float]:
    (row,) = describe([structure], block_names())
    assert not isinstance(row, Failure), row
    return dict(zip(feature_names(block_names()), row.tolist(), strict=True))


def redrawn(structure: Structure, seed: int = 0) -> Structure:
    """The same crystal turned, shifted, its atoms in another order, in a skewed supercell."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(len(structure))
    drawn = Structure(
        Lattice(structure.lattice.matrix @ rotation.T),
        [structure.species[i] for i in order],
        structure.frac_coords[order] + rng.random(3),
    )
    drawn.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    return drawn


@pytest.mark.parametrize("structure", [RUTILE, ZINCBLENDE, IRON], ids=["rutile", "zincblende", "iron"])
def test_features_do_not_depend_on_the_drawing(structure):
    before, after = named(structure), named(redrawn(structure))
    worst = max(before, key=lambda name: abs(before[name] - after[name]) / (1 + abs(before[name])))
    assert after[worst] == pytest.approx(before[worst], rel=1e-3, abs=1e-3), worst


def test_features_tell_physics():
    rutile, zincblende, iron = named(RUTILE), named(ZINCBLENDE), named(IRON)
    assert np.exp(rutile["cell.log_density"]) == pytest.approx(4.25, abs=0.05)
    assert np.exp(rutile["cell.log_primitive_atoms"]) == pytest.approx(6)
    assert (rutile["cell.inversion"], zincblende["cell.inversion"]) == (1, 0)
    assert zincblende["cell.cubic"] == rutile["cell.tetragonal"] == 1
    assert rutile["composition.excess_charge"] == pytest.approx(0, abs=1e-6)
    assert iron["chgnet.moment_most"] > 1.5 > 0.1 > rutile["chgnet.moment_most"]
    assert rutile["energy.formation"] < -2 < -0.1 < iron["energy.formation"]
    assert iron["energy.above_hull"] == pytest.approx(0, abs=0.02)


def test_vectors_are_blocks_in_the_common_order():
    (all_of_them,) = describe([RUTILE], block_names())
    (two,) = describe([RUTILE], ["cell", "composition"])
    names = feature_names(block_names())
    wanted = [names.index(name) for name in feature_names(["composition", "cell"])]
    assert np.array_equal(two, all_of_them[wanted])
    with pytest.raises(ConfigError, match="magic"):
        describe([RUTILE], ["magic"])


def test_what_cannot_be_described_is_a_failure_in_its_place():
    lonely = Structure(Lattice.cubic(30.0), ["He"], [[0, 0, 0]])
    heavy = Structure(Lattice.cubic(4.0), ["Lr", "Md"], [[0, 0, 0], [0.5] * 3])
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    rows = describe([lonely, RUTILE, heavy, disordered], ["composition"])
    kinds = [row.kind if isinstance(row, Failure) else "row" for row in rows]
    assert kinds == ["isolated-atom", "row", "unknown-element", "disordered"]


def test_a_crystal_is_described_once(monkeypatch):
    crystal = RUTILE.copy()
    crystal.apply_strain(0.0123)
    describe([crystal], ["cell"])
    monkeypatch.setattr(features_module, "_make", lambda structures: structures and pytest.fail("described again"))
    describe([crystal.copy()], ["chgnet", "composition"])


def test_kept_features_are_not_computed_again(tmp_path, monkeypatch):
    path = tmp_path / "features.npz"
    first = FeatureFile(path).describe([RUTILE, IRON], 1, lambda _: None)
    monkeypatch.setattr("matinvent.predictors.dataset._describe_all", lambda structures: pytest.fail("made again"))
    second = FeatureFile(path).describe([IRON, RUTILE], 1, lambda _: None)
    assert np.array_equal(first[0], second[1])
    assert np.array_equal(first[1], second[0])


def test_a_damaged_feature_file_is_named(tmp_path):
    path = tmp_path / "features.npz"
    path.write_bytes(b"PK nonsense")
    with pytest.raises(InputError, match=r"features\.npz"):
        FeatureFile(path)
    np.savez(path, names=np.array(["other"]), crystals=np.zeros((1, 20), np.uint8), values=np.zeros((1, 1)))
    with pytest.raises(InputError, match="another version"):
        FeatureFile(path)


def test_formulas_decide_the_split():
    assert formula_key(np.array([8, 22, 8])) == formula_key(np.array([22, 8, 8, 8, 22, 8])) == "8:2 22:1"
    keys = [f"{z}:1 {y}:2" for z in range(1, 60) for y in range(60, 94)]
    assert 0.07 < is_test(keys).mean() < 0.13
    counts = np.bincount(fold_of(keys, 5))
    assert len(counts) == 5
    assert counts.min() > 0.7 * counts.max()
