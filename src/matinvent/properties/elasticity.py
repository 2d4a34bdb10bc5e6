"""How a crystal resists compression, from a potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.properties.equation_of_state import EquationOfState, fit_birch_murnaghan
from matinvent.properties.evaluator import PropertyInfo, Values
from matinvent.properties.potentials import load_potential
from matinvent.screening.batched_relaxer import BatchedRelaxer
from matinvent.screening.potential import Evaluation, Potential, energy_scale, require_package

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.screening.neighbors import Crystal
    from matinvent.screening.relaxation import Relaxation

#: Half-width of a scan as a linear strain, and its number of volumes. At 2 % the ripples of the potential show in the
#: second derivative (Cu: 154 GPa, 143 at 3 %, 138 at 4 %); at 4 % soft crystals change their structure more often.
_STRAIN = 0.03
_VOLUMES = 7

#: Largest acceptable misfit. Beyond it the crystal went over into another structure within the scan.
_MAX_MISFIT = 0.05

_BOUNDS = (0.0, 1000.0)  # GPa; diamond has 443
_FMAX = 0.05  # eV/A
_FMAX_CENTRE = 0.03  # eV/A
_MAX_STEPS = 100
_BATCH_ATOMS = 160


class BulkModulus:
    """Bulk modulus at 0 K, from the equation of state.

    The crystal is relaxed at its volume, strained isotropically to seven volumes within +-3 % of its length, and
    relaxed at each: atoms and the shape of the cell, by the potential. A third-order Birch-Murnaghan equation of state
    gives volume and modulus. The input need not be the potential's minimum: when the minimum is not in the middle third
    of the scan, the scan is repeated once around it, or around the end toward which it lies.

    CHGNet against experiment (docs/results/properties.md): half of 27 solids within 12 %, most within 25 %, nearly all
    too soft, iron and GaAs by 45 %; the order is right (rank correlation 0.98). The potential has ripples that make a
    modulus uncertain by some 5 %, and one below about 10 GPa hardly determined.

    Args:
        potential: gives the energies (see :func:`~matinvent.properties.potentials.load_potential`).
        relax: relax at each volume. Otherwise atoms and shape only follow the strain, which costs a tenth and gives
            an upper bound: the same where symmetry fixes atoms and shape (rock salt, diamond), several times too
            large for layered and open structures (graphite 285 GPa, quartz 178 GPa; experiment 34 and 37).

    Raises:
        ConfigError: there is no such potential.
        MissingDependencyError: its package is not installed.
    """

    properties = (
        PropertyInfo(
            name="bulk_modulus",
            unit="GPa",
            description="Bulk modulus at 0 K, from the equation of state.",
            bounds=_BOUNDS,
            cost="seconds",
            source="CHGNet 0.3.0: Deng et al., Nat. Mach. Intell. 5, 1031 (2023); Birch, Phys. Rev. 71, 809 (1947)",
            needs=("potential",),
        ),
    )
    version = "1"

    def __init__(self, potential: str = "chgnet", relax: bool = True) -> None:
        require_package(potential)
        self._potential = potential  # by name: instances travel to workers without weights
        self.params: Mapping[str, Any] = {"potential": energy_scale(potential), "relax": relax}

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Bulk modulus of each crystal (GPa), all volumes of all crystals in common batches.

        Failure kinds: those of the potential, ``disordered``,
        ``not-converged`` (a relaxation), ``no-minimum`` (of the energy within the volumes), ``misfit`` (the energies
        are not those of one structure), ``out-of-bounds``.
        """
        relaxed = self._relax(list(structures), _FMAX_CENTRE)
        centres = {i: outcome.structure for i, outcome in enumerate(relaxed) if not isinstance(outcome, Failure)}
        scans = self._scan(centres)
        moved = {
            i: _at_volume(centres[i], scan.next_centre)
            for i, scan in scans.items()
            if not isinstance(scan, Failure) and scan.next_centre is not None
        }
        scans.update(self._scan(moved))
        return [outcome if isinstance(outcome, Failure) else _judge(scans[i]) for i, outcome in enumerate(relaxed)]

    def _scan(self, centres: Mapping[int, Structure]) -> dict[int, _Scan | Failure]:
        """Energies at volumes around those of the crystals, by the keys of the crystals."""
        strained = [
            _at_volume(crystal, crystal.volume * (1 + strain) ** 3)
            for crystal in centres.values()
            for strain in np.linspace(-_STRAIN, _STRAIN, _VOLUMES)
        ]
        outcomes = self._relax(strained, _FMAX)
        return {
            key: self._collect(outcomes[number * _VOLUMES : (number + 1) * _VOLUMES])
            for number, key in enumerate(centres)
        }

    def _collect(self, outcomes: Sequence[Relaxation | Failure]) -> _Scan | Failure:
        """The scan of one crystal, or what went wrong at the first volume at which something did."""
        points: list[Relaxation] = []
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                return Failure(outcome.kind, f"equation of state: {outcome.reason}")
            if self.params["relax"] and not outcome.converged:
                return Failure(
                    "not-converged",
                    f"a relaxation at {outcome.structure.volume:.4g} A^3 left {outcome.max_force:.2g} eV/A "
                    f"after {outcome.steps} steps",
                )
            points.append(outcome)
        return _Scan.of([point.structure.volume for point in points], [point.energy for point in points])

    def _relax(self, structures: Sequence[Structure], fmax: float) -> list[Relaxation | Failure]:
        """Relax atoms and shape of the cell at constant volume, or only take the energy."""
        relaxer = BatchedRelaxer(
            _FixedVolume(load_potential(self._potential)),
            fmax=fmax,
            max_steps=_MAX_STEPS if self.params["relax"] else 0,
            batch_atoms=_BATCH_ATOMS,
            max_volume_ratio=2.0,
        )
        return relaxer.relax(structures)


@dataclass(frozen=True, slots=True)
class _Scan:
    """One crystal at several volumes.

    Attributes:
        volumes: ascending, A^3.
        fit: the equation of state through the energies.
        next_centre: where the volumes should be centred instead (A^3); None when they are well placed.
    """

    volumes: Sequence[float]
    fit: EquationOfState | Failure
    next_centre: float | None

    @classmethod
    def of(cls, volumes: Sequence[float], energies: Sequence[float]) -> _Scan:
        """Fit the energies (eV) at ascending volumes (A^3)."""
        fit = fit_birch_murnaghan(volumes, energies)
        if isinstance(fit, Failure):
            return cls(volumes, fit, volumes[int(np.argmin(energies))])
        third = len(volumes) // 3
        if volumes[third] <= fit.volume <= volumes[-1 - third]:
            return cls(volumes, fit, None)
        return cls(volumes, fit, float(np.clip(fit.volume, volumes[0], volumes[-1])))


class _FixedVolume:
    """A potential without pressure: what relaxes in it keeps its volume."""

    def __init__(self, potential: Potential) -> None:
        self.potential = potential.potential
        self._wrapped = potential

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        """Energies and forces as they are, stresses without their trace."""
        return [
            outcome
            if isinstance(outcome, Failure)
            else Evaluation(outcome.energy, outcome.forces, outcome.stress - np.trace(outcome.stress) / 3 * np.eye(3))
            for outcome in self._wrapped.evaluate(crystals)
        ]


def _judge(scan: _Scan | Failure) -> Values | Failure:
    """The modulus if it can be believed."""
    if isinstance(scan, Failure):
        return scan
    fit = scan.fit
    if isinstance(fit, Failure):
        return fit
    first, last = scan.volumes[0], scan.volumes[-1]
    if not first < fit.volume < last:
        return Failure(
            "no-minimum",
            f"the energy is lowest at {fit.volume:.4g} A^3, outside of the volumes {first:.4g} .. {last:.4g} A^3",
        )
    if fit.misfit > _MAX_MISFIT:
        return Failure(
            "misfit",
            f"the energies deviate by {fit.misfit:.0%} of their range from an equation of state; the crystal is "
            "probably unstable under strain",
        )
    lower, upper = _BOUNDS
    if not lower < fit.bulk_modulus < upper:
        return Failure("out-of-bounds", f"bulk_modulus is {fit.bulk_modulus:g} GPa, outside {lower:g} .. {upper:g}")
    return {"bulk_modulus": fit.bulk_modulus}


def _at_volume(crystal: Structure, volume: float) -> Structure:
    """The crystal strained isotropically to a volume (A^3)."""
    strained = crystal.copy()
    strained.scale_lattice(volume)
    return strained
