"""Magnetic density against measured magnetisations."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import rocksalt

from matinvent.errors import Failure
from matinvent.properties.magnetism import MagneticDensity
from matinvent.testing.evaluators import check_evaluator

HALF = [0.5, 0.5, 0.5]
IRON = Structure(Lattice.cubic(2.866), ["Fe", "Fe"], [[0, 0, 0], HALF])
COBALT = Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(2.507, 4.069), ["Co"], [[1 / 3, 2 / 3, 0.25]])
IRON_COBALT = Structure(Lattice.cubic(2.857), ["Fe", "Co"], [[0, 0, 0], HALF])
CHROMIUM_DIOXIDE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.421, 2.917), ["Cr", "O"], [[0, 0, 0], [0.302, 0.302, 0]]
)
IRON_NITRIDE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.795), ["Fe", "Fe", "N"], [[0, 0, 0], [0.5, 0.5, 0], HALF]
)


def density(*structures: Structure) -> list[float]:
    results = MagneticDensity().evaluate(structures)
    assert not any(isinstance(result, Failure) for result in results)
    return [result["magnetic_density"] for result in results if not isinstance(result, Failure)]


@pytest.mark.parametrize(
    ("structure", "measured"),
    [
        # Moments at 0 K over the room-temperature volume (muB/A^3): 2.22, 1.72 and 2.4 muB per atom, 8.9 per Fe4N
        # (Kittel; Coey, Magnetism and Magnetic Materials; Frazer, Phys. Rev. 112, 751 (1958)), 2 per Cr.
        (IRON, 0.189), (COBALT, 0.155), (IRON_COBALT, 0.206), (IRON_NITRIDE, 0.163), (CHROMIUM_DIOXIDE, 0.070),
    ],
    ids=["Fe", "Co", "FeCo", "Fe4N", "CrO2"],
)  # fmt: skip
def test_strong_magnets(structure: Structure, measured: float) -> None:
    assert density(structure)[0] == pytest.approx(measured, rel=0.3)


def test_the_strongest_magnet_is_no_insulator_s() -> None:
    iron, salt, silicon = density(
        IRON, rocksalt(), Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    )
    assert iron > 0.15
    assert max(salt, silicon) < 0.003


def test_antiferromagnets_count_as_if_parallel() -> None:
    # The stated assumption: MnO has five parallel spins per Mn here, and no net moment in nature.
    assert density(rocksalt("Mn", "O", 4.446))[0] == pytest.approx(4 * 4.6 / 4.446**3, rel=0.15)


def test_intensive_and_blind_to_the_frame() -> None:
    larger = IRON_NITRIDE * (2, 1, 1)
    turned = IRON_NITRIDE.copy()
    turned.lattice = Lattice.from_parameters(*IRON_NITRIDE.lattice.parameters)
    one, *others = density(IRON_NITRIDE, larger, turned)
    assert others == pytest.approx([one, one], rel=1e-4)


def test_keeps_the_contract() -> None:
    check_evaluator(MagneticDensity(), [IRON, COBALT, rocksalt()])


def test_what_cannot_be_evaluated_says_why() -> None:
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    sparse = Structure(Lattice.cubic(20), ["Fe"], [[0, 0, 0]])
    kinds = [
        result.kind if isinstance(result, Failure) else ""
        for result in MagneticDensity().evaluate([disordered, IRON, sparse])
    ]
    assert kinds == ["disordered", "", "isolated-atom"]
