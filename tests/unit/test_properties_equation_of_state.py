"""The fitted equation of state: exact on its own curve, equal to ASE's, honest when there is no minimum."""

from __future__ import annotations

import numpy as np
import pytest
from ase.eos import EquationOfState as AseEquationOfState
from ase.eos import birchmurnaghan
from hypothesis import given
from hypothesis import strategies as st

from matinvent.errors import Failure
from matinvent.properties.equation_of_state import GPA, EquationOfState, fit_birch_murnaghan

STEPS = np.linspace(-1, 1, 7)


def fitted(volumes, energies) -> EquationOfState:
    fit = fit_birch_murnaghan(volumes, energies)
    assert isinstance(fit, EquationOfState)
    return fit


@given(
    volume=st.floats(5, 500),
    modulus=st.floats(1, 900),
    derivative=st.floats(2, 7),
    offset=st.floats(-0.1, 0.1),
    energy=st.floats(-1000, 0),
)
def test_its_own_curve_is_recovered_also_off_centre(volume, modulus, derivative, offset, energy):
    volumes = volume * np.linspace(0.97 + offset, 1.03 + offset, 7) ** 3
    fit = fitted(volumes, birchmurnaghan(volumes, energy, modulus / GPA, derivative, volume))
    assert fit.volume == pytest.approx(volume, rel=1e-6)
    assert fit.bulk_modulus == pytest.approx(modulus, rel=1e-4)


def test_equals_the_iterative_fit_of_ase_on_noisy_energies():
    rng = np.random.default_rng(0)
    volumes = 40 * np.linspace(0.97, 1.03, 7) ** 3
    energies = birchmurnaghan(volumes, -10, 0.6, 4.5, 39.0) + rng.normal(0, 1e-3, 7)
    ours = fitted(volumes, energies)
    volume, _, modulus = AseEquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert ours.volume == pytest.approx(volume, rel=1e-4)
    assert ours.bulk_modulus == pytest.approx(modulus * GPA, rel=1e-3)


def test_the_misfit_is_relative_to_the_range_of_the_energies():
    volumes = 40 * np.linspace(0.97, 1.03, 7) ** 3
    energies = birchmurnaghan(volumes, -10, 0.6, 4.5, 40.0)
    assert fitted(volumes, energies).misfit < 1e-6
    kinked = energies - 0.5 * np.ptp(energies) * (volumes > 41)
    assert fitted(volumes, kinked).misfit > 0.05
    assert fitted(volumes, 3 * energies).bulk_modulus == pytest.approx(3 * fitted(volumes, energies).bulk_modulus)


@pytest.mark.parametrize(
    ("energies", "kind"),
    [
        (STEPS**3 + STEPS**2 + STEPS, "no-minimum"),
        (1 - STEPS**2, "no-minimum"),
        (0.04 * STEPS**2 + STEPS, "no-minimum"),  # at a negative V^(-2/3)
        ([9, 4, 1, float("nan"), 1, 4, 9], "not-finite"),
        ([9, 4, 1, float("inf"), 1, 4, 9], "not-finite"),
        ([1, 1, 1, 1, 1, 1, 1], "no-minimum"),
    ],
)
def test_no_minimum_no_modulus(energies, kind):
    fit = fit_birch_murnaghan((1 + 0.1 * STEPS) ** -1.5, energies)
    assert isinstance(fit, Failure)
    assert fit.kind == kind
