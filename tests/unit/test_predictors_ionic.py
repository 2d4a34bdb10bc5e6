"""Formal charges, force constants, ionic response, and the Gaussian process that reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Element, Lattice, Structure
from pymatgen.core.operations import SymmOp
from tests.unit.screening_world import rocksalt

from matinvent.errors import CheckpointError, Failure, InputError
from matinvent.predictors.dielectric_process import Process, train_process
from matinvent.predictors.ensemble import Card
from matinvent.predictors.ionic import IONIC_NAMES, ionic_features
from matinvent.predictors.ionic_charges import formal_charges
from matinvent.predictors.ionic_forces import force_constants, primitive
from matinvent.properties.potentials import load_chgnet
from matinvent.screening.neighbors import Crystal

SILICON = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
NITRIDE = Structure.from_spacegroup(
    "P6_3/mmc", Lattice.hexagonal(2.504, 6.661), ["B", "N"], [[1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.75]]
)


def charges(*symbols: str) -> list[float]:
    return formal_charges(np.array([Element(symbol).Z for symbol in symbols])).tolist()


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        (("Na", "Cl"), (1, -1)),
        (("Ti", "O", "O"), (4, -2, -2)),
        (("Sr", "Ti", "O", "O", "O"), (2, 4, -2, -2, -2)),
        (("Ba", "Ti", "N", "N"), (2, 4, -3, -3)),
        (("Ga", "As"), (3, -3)),
        (("Sn", "Cl", "Cl"), (2, -1, -1)),
        (("Si", "Si"), (0, 0)),
    ],
)
def test_formal_charges(symbols: tuple[str, ...], expected: tuple[float, ...]) -> None:
    assert charges(*symbols) == pytest.approx(expected)


@pytest.mark.parametrize("symbols", [("Fe",) * 3 + ("O",) * 4, ("Fe", "O", "O"), ("Li", "Li", "Ag", "Sb"), ("He", "O")])
def test_formal_charges_balance(symbols: tuple[str, ...]) -> None:
    assert sum(charges(*symbols)) == pytest.approx(0.0, abs=1e-9)


def constants_of(structure: Structure) -> tuple[Crystal, np.ndarray]:
    cell = primitive(Crystal.from_structure(structure))
    assert not isinstance(cell, Failure)
    constants = force_constants(cell, load_chgnet())
    assert not isinstance(constants, Failure)
    return cell, constants


def test_silicon_has_one_optical_frequency() -> None:
    cell, constants = constants_of(SILICON)
    assert len(cell) == 2
    squares = np.linalg.eigvalsh(constants) / 28.0855
    assert squares[:3] == pytest.approx(0.0, abs=1e-6)
    # sqrt(eV/(A^2 u)) in THz; Raman line of silicon 15.5 THz. CHGNet is known to be too soft.
    assert np.sqrt(squares[3:]) * 15.6333 == pytest.approx([15.5] * 3, rel=0.3)
    assert np.ptp(squares[3:]) < 1e-3 * squares[3:].mean()


def test_force_constants_are_those_of_displacing_every_atom() -> None:
    cell, constants = constants_of(PEROVSKITE)
    step, potential = 0.02, load_chgnet()
    inverse = np.linalg.inv(cell.lattice)
    columns = []
    for coordinate in range(15):
        push = np.zeros((5, 3))
        push.flat[coordinate] = step
        ends = [Crystal(cell.numbers, cell.lattice, cell.frac + sign * push @ inverse) for sign in (1, -1)]
        there, back = potential.evaluate(ends)
        assert not isinstance(there, Failure)
        assert not isinstance(back, Failure)
        columns.append((back.forces - there.forces).ravel() / (2 * step))
    direct = np.stack(columns)
    assert constants == pytest.approx(0.5 * (direct + direct.T), abs=0.02 * np.abs(direct).max())


def test_features_do_not_depend_on_the_drawing() -> None:
    drawn = NITRIDE.copy()
    drawn.make_supercell([[2, 1, 0], [0, 1, 0], [0, 0, 1]])
    drawn.apply_operation(SymmOp.from_axis_angle_and_translation([1, 2, 3], 37))
    drawn.translate_sites(range(len(drawn)), [0.13, 0.29, 0.41])
    drawn = Structure.from_sites(list(drawn)[::-1])
    one, other = ionic_features([NITRIDE, drawn])
    assert not isinstance(one, Failure)
    assert not isinstance(other, Failure)
    assert len(one) == len(IONIC_NAMES)
    assert other == pytest.approx(one, rel=5e-3, abs=5e-3)


def test_ions_of_a_salt_respond_and_atoms_of_an_element_do_not() -> None:
    salt, titanate, element = (
        dict(zip(IONIC_NAMES, row, strict=True)) for row in rows(rocksalt(), PEROVSKITE, SILICON)
    )
    assert element["response_1"] == pytest.approx(0.0, abs=1e-4)
    assert 0.2 < salt["response_0.1"] < titanate["response_0.1"]
    assert salt["charge_most"] == 1
    assert titanate["charge_most"] == 4


def rows(*structures: Structure) -> list[np.ndarray]:
    found = ionic_features(structures)
    assert not any(isinstance(row, Failure) for row in found)
    return [row for row in found if not isinstance(row, Failure)]


def test_an_element_of_one_atom_has_features() -> None:
    (row,) = rows(Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]]))
    assert np.isfinite(row).all()


def test_crystals_without_features_are_failures_in_place() -> None:
    alloy = Structure(Lattice.cubic(4.0), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    lonely = Structure(Lattice.cubic(30.0), ["He"], [[0, 0, 0]])
    found = ionic_features([alloy, rocksalt(), lonely])
    assert [getattr(outcome, "kind", None) for outcome in found] == ["disordered", None, "isolated-atom"]


CARD = Card("x", "1", "a test", (0.01, 1e4), "made up", "regression", "log10", (), (1,))
GROUPS = {"telling": (3, 1.0), "noise": (5, 0.1)}
KEYS = [f"formula {i // 2}" for i in range(600)]


def made_up(rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    inputs = draws.normal(size=(rows, 8)).astype(np.float32)
    noise = draws.normal(scale=0.05, size=rows)
    return inputs, 10.0 ** (np.sin(inputs[:, 0]) + 0.3 * inputs[:, 1] * inputs[:, 2] + noise)


@pytest.fixture(scope="module")
def process() -> Process:
    return train_process(*made_up(), KEYS, GROUPS, CARD)


def test_a_process_learns(process: Process) -> None:
    found = process.card.metrics
    assert found["r2_learned"] > 0.85
    assert 0.5 < found["within_1"] < 0.85
    assert found["mae_uncertain"] > found["mae_rest"]


def test_a_process_is_uncertain_far_away(process: Process) -> None:
    inputs = made_up()[0][:50]
    near, far = process.learned(inputs)[1], process.learned(5 * inputs)[1]
    assert np.median(far) > 1.3 * np.median(near)


def test_a_process_is_the_same_from_its_file(process: Process, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    process.save(path)
    again, inputs = Process.load(path), made_up()[0][:20]
    assert again.version == process.version
    np.testing.assert_array_equal(again.predict(inputs).mean, process.predict(inputs).mean)
    assert replace(process, targets=-process.targets).version != process.version
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        Process.load(path)


def test_too_few_labels_or_equal_ones() -> None:
    inputs, targets = made_up()
    with pytest.raises(InputError, match="too few"):
        train_process(inputs[:80], targets[:80], KEYS[:80], GROUPS, CARD)
    with pytest.raises(InputError, match="equal"):
        train_process(inputs, np.ones(600), KEYS, GROUPS, CARD)
