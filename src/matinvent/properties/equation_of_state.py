"""The equation of state of a crystal: energy against volume, fitted.

Third-order Birch-Murnaghan (Birch, Phys. Rev. 71, 809, 1947): the energy is a cubic polynomial of V^(-2/3). Fitting
that polynomial is a linear problem with one solution; the usual fit of (E0, V0, B0, B0') is the same curve found by
iteration, which may fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.polynomial import polyfit, polyval

from matinvent.errors import Failure

#: One eV/A^3 in GPa (CODATA 2018).
GPA = 160.2176634


@dataclass(frozen=True, slots=True)
class EquationOfState:
    """The minimum of a fitted energy-volume curve.

    Attributes:
        volume: equilibrium volume (A^3).
        bulk_modulus: V d2E/dV2 at that volume (GPa).
        misfit: root-mean-square deviation of the energies from the fit, relative to the range of the energies.
    """

    volume: float
    bulk_modulus: float
    misfit: float


def fit_birch_murnaghan(volumes: Sequence[float], energies: Sequence[float]) -> EquationOfState | Failure:
    """Fit a third-order Birch-Murnaghan equation of state.

    Args:
        volumes: at least five different cell volumes (A^3), shape (V,).
        energies: energies of the same cell (eV), shape (V,).

    Returns:
        The fit, whose minimum may lie outside of the given volumes; or a Failure ``not-finite``, or ``no-minimum``
        when the fitted curve has none or is not convex.
    """
    x = np.asarray(volumes, dtype=np.float64) ** (-2 / 3)
    energy = np.asarray(energies, dtype=np.float64)
    if not (np.isfinite(x).all() and np.isfinite(energy).all()):
        return Failure("not-finite", "an energy or a volume of the equation of state is not a finite number")
    spread = np.ptp(energy)
    middle, scale = x.mean(), np.ptp(x) / 2
    z = (x - middle) / scale
    coefficients = polyfit(z, energy, 3)
    # The slope is a + b z + c z^2; of its two roots, the minimum is the one where the curvature is positive.
    a, b, c = coefficients[1:] * (1, 2, 3)
    discriminant = b**2 - 4 * a * c
    if b <= 0 or discriminant <= 0 or spread == 0:
        return Failure("no-minimum", "the energy has no minimum as a function of the volume")
    curvature = np.sqrt(discriminant)
    lowest = float(middle - scale * 2 * a / (b + curvature))
    if lowest <= 0:
        return Failure("no-minimum", "the energy has its minimum at no finite volume")
    volume = lowest**-1.5
    # dE/dx = 0 there, hence d2E/dV2 = d2E/dx2 (dx/dV)^2 with dx/dV = -2/3 V^(-5/3).
    modulus = GPA * 4 / 9 * curvature / scale**2 * volume ** (-7 / 3)
    misfit = np.sqrt(np.mean((polyval(z, coefficients) - energy) ** 2)) / spread
    return EquationOfState(volume, float(modulus), float(misfit))
