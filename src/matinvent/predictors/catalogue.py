"""The predictors that come with the package: what each is of, and where models are found.

This is also how they are trained again: ``matinvent predictor train LABELS --property NAME`` takes unit, transform,
bounds and plausible range of a property known here from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from matinvent.errors import ConfigError

if TYPE_CHECKING:
    from matinvent.predictors.ensemble import Kind

SUFFIX = ".safetensors"

_MP = "Materials Project: Jain et al., APL Mater. 1, 011002 (2013)"
_ELASTIC = f"{_MP}; de Jong et al., Sci. Data 2, 150009 (2015)"
_DIELECTRIC = f"{_MP}; Petousis et al., Sci. Data 4, 160134 (2017)"


@dataclass(frozen=True, slots=True)
class Spec:
    """What a predictor is of.

    Attributes:
        name: of the property.
        column: of the labels.
        unit: ``1`` for dimensionless.
        description: one sentence.
        bounds: of predictions.
        plausible: labels outside of this range are errors of the data.
        transform: under which it is learned.
        source: paper and data of the labels.
        parents: shipped predictors whose predictions are features too.
        method: ``networks`` (training.py), or ``process``: the Gaussian process of dielectric.py.
        kind: ``regression`` or ``pu`` (positive-unlabelled).
    """

    name: str
    column: str
    unit: str
    description: str
    bounds: tuple[float, float]
    plausible: tuple[float, float]
    transform: str
    source: str
    kind: Kind = "regression"
    parents: tuple[str, ...] = ()
    method: Literal["networks", "process"] = "networks"


# The one solid with an HSE gap above 15 eV is helium.
_SPECS = (
    Spec(
        "band_gap", "band_gap_pbe", "eV", "Band gap as PBE gives it, learned from labels; 0 for metals.",
        (0.0, 20.0), (0.0, 20.0), "identity", _MP,
    ),
    Spec(
        "band_gap_hse", "band_gap_hse", "eV", "Band gap as the HSE hybrid functional gives it, learned from labels.",
        (0.0, 25.0), (0.0, 15.0), "identity", _MP, parents=("band_gap",),
    ),
    Spec(
        "refractive_index", "refractive_index", "1", "Refractive index far below the gap, learned from labels.",
        (1.0, 20.0), (1.0, 10.0), "log10", _DIELECTRIC, parents=("band_gap",),
    ),
    Spec(
        "dielectric", "dielectric_total", "1",
        "Static dielectric constant, electronic and ionic part, mean over directions; learned from labels.",
        (1.0, 400.0), (1.0, 400.0), "log10", _DIELECTRIC, parents=("band_gap",), method="process",
    ),
    Spec(
        "dielectric_electronic", "dielectric_electronic", "1",
        "Electronic (high-frequency) part of the dielectric constant, learned from labels.",
        (1.0, 400.0), (1.0, 100.0), "log10", _DIELECTRIC, parents=("band_gap",),
    ),
    Spec(
        "synthesizability", "in_icsd", "1",
        "Likeness to crystals that were made; positive-unlabelled learning of ICSD.",
        (0.0, 1.0), (0.0, 1.0), "identity", f"{_MP}; method: Jang et al., J. Am. Chem. Soc. 142, 18836 (2020)", "pu",
    ),
    Spec(
        "bulk_modulus_learned", "bulk_modulus_vrh", "GPa", "Bulk modulus (Voigt-Reuss-Hill), learned from labels.",
        (0.0, 1000.0), (1.0, 600.0), "log10", _ELASTIC,
    ),
    Spec(
        "shear_modulus_learned", "shear_modulus_vrh", "GPa", "Shear modulus (Voigt-Reuss-Hill), learned from labels.",
        (0.0, 1000.0), (0.5, 600.0), "log10", _ELASTIC,
    ),
    Spec(
        "magnetic_density_learned", "magnetic_density", "muB/A^3",
        "Total magnetisation per volume of the DFT ground state, learned from labels.",
        (0.0, 0.5), (0.0, 0.5), "identity", _MP,
    ),
    Spec(
        "formation_energy_learned", "formation_energy", "eV/atom",
        "DFT energy of formation from the elements, learned from labels.",
        (-10.0, 10.0), (-6.0, 6.0), "identity", _MP,
    ),
)  # fmt: skip

SPECS = {spec.name: spec for spec in _SPECS}


def shipped_models() -> dict[str, Path]:
    """Files of the predictors inside the package by their names."""
    folder = Path(str(resources.files("matinvent"))) / "data" / "predictors"
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find_model(name_or_path: str) -> Path:
    """File of a shipped predictor or of a user's own.

    Raises:
        ConfigError: there is none of that name.
    """
    shipped = shipped_models()
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise ConfigError(f"predictor '{name_or_path}' is neither a shipped one ({_listed(list(shipped))}) nor a file")
    return path


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
