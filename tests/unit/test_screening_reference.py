"""Reference sets: building one, recognising crystals, damaged files, and the shipped set."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from pymatgen.core import Composition, Lattice, Structure
from tests.unit.screening_world import diamond, displaced, rocksalt, zincblende

from matinvent.errors import InputError
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.reference_build import build_reference
from matinvent.screening.reference_tables import StructureTable, read_energies
from matinvent.screening.stability import HullResult


def tables(folder: Path) -> tuple[Path, Path]:
    """Parquet tables of two salts and the energies of their system; sodium nitride is among them."""
    crystals = {"salt": rocksalt(), "blende": zincblende(), "nitride": rocksalt("Na", "N", 5.0)}
    rows = {
        "material_id": list(crystals),
        "species": [[site.specie.symbol for site in crystal] for crystal in crystals.values()],
        "abc": [list(crystal.lattice.abc) for crystal in crystals.values()],
        "angles": [list(crystal.lattice.angles) for crystal in crystals.values()],
        "frac_coords": [crystal.frac_coords.ravel().tolist() for crystal in crystals.values()],
    }
    energies = {
        "formula": ["Na", "Cl", "N", "NaCl", "NaCl", "NaN"],
        "energy_per_atom": [-1.3, -1.8, -8.3, -3.4, -3.3, -4.0],
    }
    parquet.write_table(pa.table(rows), folder / "structures.parquet")
    parquet.write_table(pa.table(energies), folder / "energies.parquet")
    return folder / "structures.parquet", folder / "energies.parquet"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReferenceSet, Path]:
    folder = tmp_path_factory.mktemp("reference")
    path = folder / "small.npz"
    structures, energies = tables(folder)
    crystals = StructureTable(structures)
    reference, _ = build_reference(
        crystals, len(crystals), path, potential="test", entries=read_energies(energies), keep_structures=True
    )
    return reference, path


def test_recognises_what_it_was_built_from(built: tuple[ReferenceSet, Path]) -> None:
    reference = built[0]
    assert len(reference) == 3
    assert reference.potential == "test"
    assert reference.is_known(displaced(rocksalt(), 0.02, 0))
    assert reference.is_known(rocksalt("Na", "N", 5.1))
    assert not reference.is_known(rocksalt("K", "Cl"))
    assert not reference.is_known(zincblende("Na", "N"))


def test_its_hull_survives_the_file(built: tuple[ReferenceSet, Path]) -> None:
    result = ReferenceSet.load(built[1]).hull.energy_above_hull(Composition("NaCl"), -3.3)
    assert isinstance(result, HullResult)
    assert result.e_above_hull == pytest.approx(0.1, abs=1e-5)
    assert len(built[0].hull) == 4  # sodium nitride lies above its elements


def test_a_crystal_without_fingerprint_is_not_known(built: tuple[ReferenceSet, Path]) -> None:
    assert not built[0].is_known(Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0, 0]]))


@pytest.mark.parametrize("keep", [0, 100, 1500])
def test_damaged_file_is_an_input_error(built: tuple[ReferenceSet, Path], tmp_path: Path, keep: int) -> None:
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(built[1].read_bytes()[:keep])
    with pytest.raises(InputError, match=r"damaged\.npz"):
        ReferenceSet.load(damaged)


def test_unknown_set_names_the_shipped_ones() -> None:
    with pytest.raises(InputError, match="mp"):
        ReferenceSet.load("oqmd")


class TestShipped:
    @pytest.fixture(scope="class")
    def shipped(self) -> ReferenceSet:
        return ReferenceSet.load("mp")

    def test_opens_fast(self, shipped: ReferenceSet) -> None:
        assert len(shipped) > 80_000
        start = time.process_time()
        ReferenceSet.load("mp")
        assert time.process_time() - start < 3

    @pytest.mark.parametrize(
        "crystal",
        [diamond(), rocksalt(), rocksalt("Mg", "O", 4.21), zincblende("Ga", "As", 5.65)],
        ids=["Si", "NaCl", "MgO", "GaAs"],
    )
    def test_knows_textbook_crystals(self, shipped: ReferenceSet, crystal: Structure) -> None:
        assert shipped.is_known(crystal)

    def test_does_not_know_invented_ones(self, shipped: ReferenceSet) -> None:
        assert not shipped.is_known(rocksalt("Xe", "Au", 6.5))
        assert not shipped.is_known(
            Structure(Lattice.orthorhombic(3, 4, 7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.3, 0.4]])
        )

    def test_textbook_compounds_are_stable_and_suboxides_decompose(self, shipped: ReferenceSet) -> None:
        energy = -4.0
        for name in ("NaCl", "MgO", "Al2O3", "SrTiO3", "GaAs"):
            result = shipped.hull.energy_above_hull(Composition(name), energy)
            assert isinstance(result, HullResult)
            assert list(result.decomposition) == [name]
        mixture = shipped.hull.energy_above_hull(Composition("Mg2O"), energy)
        assert isinstance(mixture, HullResult)
        assert set(mixture.decomposition) == {"Mg", "MgO"}

    def test_covers_the_elements_up_to_bismuth(self, shipped: ReferenceSet) -> None:
        assert all(shipped.hull.has_element(z) for z in range(1, 84))
