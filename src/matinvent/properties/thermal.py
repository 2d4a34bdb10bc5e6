"""How much heat a crystal takes up, from its vibrations by a potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import ConfigError, Failure
from matinvent.properties.equilibrium import RestingCrystal, rest
from matinvent.properties.evaluator import PropertyInfo, Values
from matinvent.properties.phonons import Modes, Vibrations, choose_supercell
from matinvent.properties.potentials import load_potential
from matinvent.screening.potential import energy_scale, require_package

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from matinvent.screening.potential import Potential

#: h/k_B (K per THz) and the gas constant (J/(mol K)), CODATA 2018.
_KELVIN_PER_THZ = 47.992430733
_GAS_CONSTANT = 8.314462618

#: Length (A) that the mesh of wave vectors stands for.
_MESH = 40.0


class HeatCapacity:
    """Heat capacity at constant volume, harmonic.

    The crystal is relaxed and reduced to its primitive cell; displaced atoms in a supercell give force constants,
    these the frequencies on a mesh of wave vectors, and each mode its share by Einstein's formula. Experiments are at
    constant pressure, where at 300 K solids take up 0 to 5 % more. Softness of CHGNet makes values too large
    (docs/results/properties.md): by 1 to 10 % for most, more where light atoms are bound stiffly (SiC 30 %, diamond
    50 %).

    Imaginary frequencies are a Failure ``unstable-phonons``: the crystal rests on a saddle point and would fall, mostly
    into a larger cell. So do the majority of generated crystals of high symmetry.

    Args:
        temperature: in K.
        potential: gives the forces (see :func:`~matinvent.properties.potentials.load_potential`).
        supercell: least distance of a displaced atom from its periodic images (A).
        tolerance: frequencies (THz) down to minus this are taken for soft ones: the potentials' ripples and a finite
            supercell shift acoustic modes near the zone centre that much. 0.3 THz are 10 wave numbers.
        max_atoms: larger primitive cells are a Failure ``too-large``.
        max_work: so are crystals whose displaced supercells have more atoms together, some 1.5 ms each.

    Raises:
        ConfigError: there is no such potential, or a number is not positive.
        MissingDependencyError: the potential's package is not installed.
    """

    properties = (
        PropertyInfo(
            name="heat_capacity",
            unit="J/(g K)",
            description="Heat capacity at constant volume, of harmonic phonons; at 300 K unless params say otherwise.",
            # Dulong and Petit's limit of lithium hydride is 6.3, of solid hydrogen 24.7.
            bounds=(0.0, 25.0),
            cost="seconds",
            source="CHGNet 0.3.0: Deng et al., Nat. Mach. Intell. 5, 1031 (2023); "
            "phonopy: Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)",
            needs=("potential",),
        ),
    )
    version = "2"

    def __init__(
        self,
        temperature: float = 300.0,
        potential: str = "chgnet",
        supercell: float = 8.0,
        tolerance: float = 0.3,
        max_atoms: int = 40,
        max_work: int = 20_000,
    ) -> None:
        numbers = {
            "temperature": temperature,
            "supercell": supercell,
            "tolerance": tolerance,
            "max_atoms": max_atoms,
            "max_work": max_work,
        }
        for name, number in numbers.items():
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < np.inf:
                raise ConfigError(f"heat_capacity: {name} is {number!r}; give a positive number")
        require_package(potential)
        self._potential = potential  # by name: instances travel to workers without weights
        self.params: Mapping[str, Any] = {"potential": energy_scale(potential), **numbers}

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Heat capacity of each crystal, J/(g K).

        Failure kinds: those of :func:`~matinvent.properties.equilibrium.rest`, ``too-large``, ``unstable-phonons``.
        """
        potential = load_potential(self._potential)
        return [
            crystal if isinstance(crystal, Failure) else self._heat_capacity(crystal, potential)
            for crystal in rest(structures, potential)
        ]

    def _heat_capacity(self, crystal: RestingCrystal, potential: Potential) -> Values | Failure:
        atoms, limit = len(crystal.primitive), self.params["max_atoms"]
        if atoms > limit:
            return Failure("too-large", f"{atoms} atoms in the primitive cell; the limit is {limit} (max_atoms)")
        vibrations = Vibrations(crystal.primitive, choose_supercell(crystal, self.params["supercell"]))
        if vibrations.work > self.params["max_work"]:
            return Failure(
                "too-large",
                f"{vibrations.work} atoms in the displaced supercells; "
                f"the limit is {self.params['max_work']} (max_work)",
            )
        failed = vibrations.compute(potential)
        if failed is not None:
            return Failure(failed.kind, f"displaced atom: {failed.reason}")
        modes = vibrations.modes(_MESH)
        imaginary = _imaginary(modes, self.params["tolerance"])
        if imaginary is not None:
            return imaginary
        per_cell = float(modes.weights @ share(modes.frequencies, self.params["temperature"]).sum(axis=1))
        per_mole = _GAS_CONSTANT * per_cell / float(modes.weights.sum())
        return {"heat_capacity": per_mole / _molar_mass(crystal.primitive.numbers)}


def share(frequency: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Heat capacity of vibrations in units of k_B (Einstein, Ann. Phys. 327, 180, 1907): 1 when hot, 0 when cold.

    Args:
        frequency: THz; the sign does not matter.
        temperature: K.
    """
    half = np.minimum(np.abs(frequency) * _KELVIN_PER_THZ / temperature / 2, 300.0)
    return np.asarray(np.divide(half, np.sinh(half), out=np.ones_like(half), where=half > 1e-8) ** 2)


def _imaginary(modes: Modes, tolerance: float) -> Failure | None:
    """Which vibration carries the crystal away, or None."""
    where = int(modes.frequencies.min(axis=1).argmin())
    lowest = float(modes.frequencies[where].min())
    if lowest >= -tolerance:
        return None
    vector = ", ".join(f"{component:.3g}" for component in modes.wave_vectors[where])
    return Failure("unstable-phonons", f"the lowest frequency is {-lowest:.2f}i THz, at the wave vector ({vector})")


def _molar_mass(numbers: NDArray[np.int64]) -> float:
    """Mass of a mole of atoms of these atomic numbers together (g)."""
    from pymatgen.core import Element

    return sum(float(Element.from_Z(int(number)).atomic_mass) for number in numbers)
