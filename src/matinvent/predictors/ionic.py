"""Ionic response: how far formal charges follow an electric field against the forces of CHGNet.

For fixed ions of charges Z the ionic part of the dielectric constant is e^2 / (3 eps0 V) tr(Z^T F^+ Z) with the force
constants F at the zone centre (Gonze and Lee, Phys. Rev. B 55, 10355, 1997). Formal charges and a potential do not give
its value, but they do tell crystals with soft polar modes from stiff ones, which a model trained on a thousand labels
cannot see in the geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure
from matinvent.predictors.ionic_charges import formal_charges
from matinvent.predictors.ionic_forces import force_constants, primitive
from matinvent.properties.potentials import load_chgnet
from matinvent.screening.relaxation import read_crystal

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from matinvent.screening.neighbors import Crystal

    Reals = NDArray[np.float64]

#: e^2 / eps0 in eV A.
_COULOMB = 4 * np.pi * 14.399645

#: Force constants (eV/A^2) below which a mode no longer counts as softer: a potential knows them no better.
_SOFTNESS = (0.1, 0.3, 1.0, 3.0)

#: A mode with at least this share of the polar strength counts as polar.
_POLAR = 0.02

#: Logarithms of force constants (eV/A^2) end here.
_LEAST = 0.05

#: Where a crystal has no such mode or ion: the logarithm of an ordinary force constant.
_ORDINARY = 1.6

IONIC_NAMES = (
    *(f"response_{softness:g}" for softness in _SOFTNESS),
    "response_either_sign",
    "polar_strength",
    "polar_stiffness",
    "polar_softest",
    "stiffness_mean",
    "stiffness_least",
    "stiffness_three_least",
    "stiffness_spread",
    "unstable_modes",
    "site_mean",
    "site_least",
    "site_cation",
    "site_anion",
    "site_response",
    "frequency_least",
    "frequency_most",
    "frequency_mean",
    "charge_rms",
    "charge_most",
)


def ionic_features(structures: Sequence[Structure]) -> list[NDArray[np.float32] | Failure]:
    """Features of each crystal, in the order of :data:`IONIC_NAMES`; the same for every drawing of a crystal.

    Unstable modes are features like others, not failures. Failure kinds: ``disordered``, ``no-symmetry``,
    ``not-finite``, and those of CHGNet's ``evaluate``.
    """
    return [_of_structure(structure) for structure in structures]


def _of_structure(structure: Structure) -> NDArray[np.float32] | Failure:
    crystal = read_crystal(structure)
    cell = crystal if isinstance(crystal, Failure) else primitive(crystal)
    if isinstance(cell, Failure):
        return cell
    constants = force_constants(cell, load_chgnet())
    if isinstance(constants, Failure):
        return constants
    values = _features(cell, constants)
    if not np.isfinite(values).all():
        return Failure("not-finite", "a feature of the ionic response is no finite number")
    return values.astype(np.float32)


def _features(crystal: Crystal, constants: Reals) -> Reals:
    charges = formal_charges(crystal.numbers)
    modes = _modes(constants)
    strength = _strength(modes.vectors, charges)
    frequencies = _frequencies(crystal.numbers, constants)
    values = [
        *_responses(crystal, modes, strength),
        *_polar(modes, strength),
        *_stiffness(modes),
        *_sites(crystal, constants, charges),
        *((frequencies.min(), frequencies.max(), frequencies.mean()) if len(frequencies) else (0.0, 0.0, 0.0)),
        np.sqrt((charges**2).mean()),
        np.abs(charges).max(),
    ]
    return np.array(values, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Modes:
    """Displacements that a force proportional to them answers, without the translations: M = 3N - 3.

    Attributes:
        constants: force constants in ascending order, shape (M,), eV/A^2.
        vectors: shape (3N, M).
    """

    constants: Reals
    vectors: Reals


def _modes(constants: Reals) -> _Modes:
    """Eigenvalues and eigenvectors; translations are lifted above all others, and dropped."""
    atoms = len(constants) // 3
    shifts = np.tile(np.eye(3), (atoms, 1)) / np.sqrt(atoms)
    values, vectors = np.linalg.eigh(constants + 1e6 * shifts @ shifts.T)
    return _Modes(values[:-3], vectors[:, :-3])


def _strength(vectors: Reals, charges: Reals) -> Reals:
    """Square of the dipole moment that each mode carries, shape (M,), e^2."""
    dipoles = np.einsum("iam,i->am", vectors.reshape(len(charges), 3, -1), charges)
    return (dipoles**2).sum(axis=0)


def _responses(crystal: Crystal, modes: _Modes, strength: Reals) -> list[float]:
    """Logarithms of one plus the ionic part, with soft modes cut off at several force constants."""
    scale = _COULOMB / (3 * crystal.volume)
    stable = np.maximum(modes.constants, 0.0)
    found = [scale * (strength / np.hypot(stable, softness)).sum() for softness in _SOFTNESS]
    found.append(scale * (strength / np.maximum(np.abs(modes.constants), 0.2)).sum())
    return [*np.log10(1.0 + np.array(found)), float(np.log10(scale * strength.sum() + 0.1))]


def _polar(modes: _Modes, strength: Reals) -> list[float]:
    """Mean and least logarithm of the force constants of polar modes."""
    total = strength.sum()
    if total < 1e-6:
        return [_ORDINARY, _ORDINARY]
    polar = modes.constants[strength > _POLAR * total]
    logs = np.log(np.maximum(modes.constants, _LEAST))
    return [float(strength @ logs / total), float(np.log(np.maximum(polar, _LEAST)).min(initial=_ORDINARY))]


def _stiffness(modes: _Modes) -> list[float]:
    """Statistics of the logarithms of all force constants, and the share of negative ones."""
    if not len(modes.constants):
        return [_ORDINARY, _ORDINARY, _ORDINARY, 0.0, 0.0]
    logs = np.log(np.maximum(modes.constants, _LEAST))
    return [logs.mean(), logs[0], logs[:3].mean(), logs.std(), (modes.constants < 0).mean()]


def _sites(crystal: Crystal, constants: Reals, charges: Reals) -> list[float]:
    """Force constants of single atoms with all others at rest, and what they would give for the ionic part."""
    own = np.maximum(np.einsum("iaia->i", constants.reshape(len(charges), 3, -1, 3)) / 3, 0.1)
    logs = np.log(own)
    response = _COULOMB / crystal.volume * (charges**2 / np.maximum(own, 0.3)).sum()
    return [
        logs.mean(),
        logs.min(),
        logs[charges > 0].min(initial=_ORDINARY),
        logs[charges < 0].min(initial=_ORDINARY),
        float(np.log10(1.0 + response)),
    ]


def _frequencies(numbers: NDArray[np.int64], constants: Reals) -> Reals:
    """Frequencies of the optical modes, shape (3N - 3,), sqrt(eV/(A^2 u)); unstable ones are negative."""
    from ase.data import atomic_masses

    if len(numbers) == 1:
        return np.zeros(0)
    weights = np.repeat(1 / np.sqrt(atomic_masses[numbers]), 3)
    squares = np.linalg.eigvalsh(constants * np.outer(weights, weights))
    frequencies = np.sign(squares) * np.sqrt(np.abs(squares))
    return frequencies[np.argsort(np.abs(frequencies))[3:]]
