"""How a crystal resists any small deformation: its elastic tensor from a potential, and the moduli of a polycrystal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.properties.equation_of_state import GPA
from matinvent.properties.equilibrium import RestingCrystal, evaluate_all, rest
from matinvent.properties.evaluator import PropertyInfo, Values
from matinvent.properties.phonons import Vibrations
from matinvent.properties.potentials import load_potential
from matinvent.screening.neighbors import Crystal
from matinvent.screening.potential import energy_scale, require_package

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from matinvent.screening.potential import Potential

#: Strains of each kind, in pairs of opposite sign so that only odd orders remain; as wide as the equation of state's,
#: because in smaller ones the ripples of the potential show (Cu: bulk modulus 188 GPa at 1 %, 164 at 3 %).
_STRAINS = (-0.03, -0.015, 0.015, 0.03)

#: Voigt's order of the pairs of axes.
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

#: A curvature of the energy (eV/A^2) below which atoms have no place of their own; bonds have 1 to 50.
_FLAT = 0.01

_SOURCE = "CHGNet 0.3.0: Deng et al., Nat. Mach. Intell. 5, 1031 (2023); Hill, Proc. Phys. Soc. A 65, 349 (1952)"


def _info(name: str, unit: str, description: str, bounds: tuple[float, float]) -> PropertyInfo:
    return PropertyInfo(name, unit, description, bounds, "seconds", _SOURCE, needs=("potential",))


class ElasticModuli:
    """Moduli at 0 K of a polycrystal, from the elastic tensor (Voigt-Reuss-Hill averages).

    The crystal is relaxed, reduced to its primitive cell and strained in six ways. Stresses and forces of the strained
    cells and the force constants of the relaxed one give the tensor: that of atoms which only follow the strain, less
    what they give way (Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105, 2005). This is what relaxing the atoms of
    each strained cell tends to, for a fraction of the evaluations.

    CHGNet makes most solids far too soft in shear (docs/results/properties.md): half the measured modulus and less, in
    an order that is roughly right. SevenNet-0 is nearer.

    A crystal that a small strain or a small displacement of atoms would carry away has no moduli (``unstable``).

    Args:
        potential: gives forces and stresses (see :func:`~matinvent.properties.potentials.load_potential`).

    Raises:
        ConfigError: there is no such potential.
        MissingDependencyError: its package is not installed.
    """

    properties = (
        _info("shear_modulus", "GPa", "Shear modulus at 0 K, Voigt-Reuss-Hill average.", (0.0, 1000.0)),
        _info(
            "young_modulus", "GPa", "Young's modulus at 0 K, from the averaged bulk and shear moduli.", (0.0, 1500.0)
        ),
        _info("pugh_ratio", "1", "Bulk over shear modulus; above about 1.75 metals are ductile.", (0.0, 1000.0)),
        _info("poisson_ratio", "1", "Poisson's ratio, from the averaged bulk and shear moduli.", (-1.0, 0.5)),
        _info("bulk_modulus_vrh", "GPa", "Bulk modulus at 0 K, Voigt-Reuss-Hill average.", (0.0, 1000.0)),
    )
    version = "2"

    def __init__(self, potential: str = "chgnet") -> None:
        require_package(potential)
        self._potential = potential  # by name: instances travel to workers without weights
        self.params: Mapping[str, Any] = {"potential": energy_scale(potential)}

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Moduli (GPa) and ratios of each crystal.

        Failure kinds: those of :func:`~matinvent.properties.equilibrium.rest`, ``unstable``, ``out-of-bounds``.
        """
        potential = load_potential(self._potential)
        return [
            crystal if isinstance(crystal, Failure) else self._moduli(crystal, potential)
            for crystal in rest(structures, potential)
        ]

    def _moduli(self, crystal: RestingCrystal, potential: Potential) -> Values | Failure:
        tensor = elastic_tensor(crystal.primitive, potential)
        values = tensor if isinstance(tensor, Failure) else average(tensor)
        if isinstance(values, Failure):
            return values
        for info in self.properties:
            lower, upper = info.bounds
            if not lower <= values[info.name] <= upper:
                return Failure("out-of-bounds", f"{info.name} is {values[info.name]:g} {info.unit}")
        return values


def elastic_tensor(crystal: Crystal, potential: Potential) -> NDArray[np.float64] | Failure:
    """Elastic tensor of a relaxed crystal with its atoms free to move, Voigt's notation, shape (6, 6), GPa.

    Failure kinds: those of the potential, ``unstable`` (the atoms are not at a minimum of the energy).
    """
    strained = [_strain(crystal, kind, size) for kind in range(6) for size in _STRAINS]
    evaluations = evaluate_all(potential, strained)
    if isinstance(evaluations, Failure):
        return Failure(evaluations.kind, f"strained crystal: {evaluations.reason}")
    sizes = np.array(_STRAINS)
    slope = sizes / (sizes @ sizes)  # of a line by least squares; the mean strain is zero
    stresses = np.array([[e.stress[pair] for pair in _VOIGT] for e in evaluations]).reshape(6, len(sizes), 6)
    forces = np.array([e.forces.ravel() for e in evaluations]).reshape(6, len(sizes), -1)
    clamped = np.einsum("ksv,s->vk", stresses, slope)
    pull = np.einsum("ksf,s->fk", forces, slope)  # (3 N, 6): force per strain
    response = _displacements(crystal, pull, potential)
    if isinstance(response, Failure):
        return response
    tensor = GPA * (clamped - pull.T @ response / crystal.volume)
    return np.asarray((tensor + tensor.T) / 2)


def average(tensor: NDArray[np.float64]) -> dict[str, float] | Failure:
    """Moduli of a polycrystal of grains with an elastic tensor (6, 6) in GPa; ``unstable`` by Born's criterion."""
    from pymatgen.core.elasticity import ElasticTensor

    softest = float(np.linalg.eigvalsh(tensor)[0])
    if softest <= 0:
        return Failure(
            "unstable", f"the elastic tensor has the eigenvalue {softest:.3g} GPa: a strain lowers the energy"
        )
    grains = ElasticTensor.from_voigt(tensor)
    bulk, shear = float(grains.k_vrh), float(grains.g_vrh)
    return {
        "shear_modulus": shear,
        "young_modulus": 9 * bulk * shear / (3 * bulk + shear),
        "pugh_ratio": bulk / shear,
        "poisson_ratio": (3 * bulk - 2 * shear) / (6 * bulk + 2 * shear),
        "bulk_modulus_vrh": bulk,
    }


def _strain(crystal: Crystal, kind: int, size: float) -> Crystal:
    """A crystal under one of Voigt's six strains, whose shear components count twice; atoms follow the cell."""
    strain = np.zeros((3, 3))
    first, second = _VOIGT[kind]
    strain[first, second] += size / 2
    strain[second, first] += size / 2
    return Crystal(crystal.numbers, crystal.lattice @ (np.eye(3) + strain), crystal.frac)


def _displacements(crystal: Crystal, pull: NDArray[np.float64], potential: Potential) -> NDArray[np.float64] | Failure:
    """How far atoms go under forces, shape (3 N, K) as ``pull``; ``unstable`` when nothing holds them."""
    if len(crystal) == 1:
        return np.zeros_like(pull)
    vibrations = Vibrations(crystal, np.eye(3, dtype=np.int64))
    failed = vibrations.compute(potential)
    if failed is not None:
        return Failure(failed.kind, f"displaced atom: {failed.reason}")
    constants = vibrations.force_constants()
    # Nothing holds the crystal as a whole: hold its centre with a spring.
    drift = np.tile(np.eye(3), (len(crystal), 1)) / np.sqrt(len(crystal))
    held = constants + np.trace(constants) / len(constants) * drift @ drift.T
    softest = float(np.linalg.eigvalsh((held + held.T) / 2)[0])
    if softest < _FLAT:
        return Failure("unstable", f"atoms are not at a minimum: the softest curvature is {softest:.2g} eV/A^2")
    return np.asarray(np.linalg.solve(held, pull - drift @ (drift.T @ pull)))
