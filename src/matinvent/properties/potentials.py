"""The potentials that properties are computed with, each loaded once per process."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

from matinvent.screening.ase_potential import AsePotential
from matinvent.screening.potential import energy_scale, make_calculator

if TYPE_CHECKING:
    from matinvent.screening.chgnet import ChgnetEvaluator
    from matinvent.screening.potential import Potential

_loading = threading.Lock()


def load_potential(name: str) -> Potential:
    """A potential by its name, loaded once per process also when threads ask for it at the same time.

    Args:
        name: ``chgnet``, a named ASE calculator, a plug-in's name, or ``module:function`` (see
            :func:`matinvent.screening.potential.energy_scale`).

    Raises:
        ConfigError: there is no such potential, or it makes no ASE calculator with energy, forces and stress.
        MissingDependencyError: its package is not installed.
    """
    if name == "chgnet":
        return load_chgnet()
    with _loading:
        return _load_calculator(name)


def load_chgnet() -> ChgnetEvaluator:
    """CHGNet, which gives magnetic moments and features besides energies, loaded once per process."""
    with _loading:
        return _load_chgnet()


@cache
def _load_chgnet() -> ChgnetEvaluator:
    from matinvent.screening.chgnet import ChgnetEvaluator

    return ChgnetEvaluator()


@cache
def _load_calculator(name: str) -> AsePotential:
    return AsePotential(make_calculator(name, "cpu"), energy_scale(name))
