"""Properties predicted by models that learned them from labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.predictors.catalogue import SPECS, find_model
from matinvent.properties.evaluator import PropertyInfo, Values

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

#: Changes when features are made in another way.
_VERSION = "1"


def declare(
    name: str, unit: str, description: str, bounds: tuple[float, float], source: str
) -> tuple[PropertyInfo, PropertyInfo]:
    """A learned property and its uncertainty, as an evaluator declares them."""
    uncertainty = f"{name}_uncertainty"
    source = f"CHGNet 0.3.0 features: Deng et al., Nat. Mach. Intell. 5, 1031 (2023); labels: {source}"
    value = PropertyInfo(
        name, unit, description, bounds, "instant", source, ("relaxed structure", "labels"), uncertainty
    )
    spread = PropertyInfo(
        uncertainty,
        unit,
        f"Standard deviation of {name}: spread of the ensemble and noise that it expects.",
        (0.0, bounds[1] - bounds[0]),
        "instant",
        source,
        value.needs,
    )
    return value, spread


class Learned:
    """What a predictor says of a crystal, with its standard deviation.

    Args:
        model: a shipped predictor (``matinvent predictor list``) or a file of ``matinvent predictor train``.

    Raises:
        ConfigError: there is no such model.
        CheckpointError: the file cannot be read, or was made for other features.
    """

    def __init__(self, model: str) -> None:
        from matinvent.predictors.ensemble import Ensemble
        from matinvent.predictors.inputs import Inputs

        self._ensemble = Ensemble.load(find_model(model))
        self._inputs = Inputs.of(self._ensemble.card)
        self._known = frozenset(self._ensemble.card.elements)
        self.params: Mapping[str, Any] = {"model": model}
        self.version = f"{_VERSION}-{self._ensemble.version}"
        card = self._ensemble.card
        self.properties = declare(card.name, card.unit, card.description, card.bounds, card.source)

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Value and uncertainty of each crystal.

        Failure kinds: those of :func:`matinvent.predictors.features.describe`, and ``unknown-element`` for an element
        that no crystal of the training data has.
        """
        from matinvent.predictors.features import block_names, describe

        rows = [
            row if isinstance(row, Failure) else self._foreign(structure) or row
            for row, structure in zip(describe(structures, block_names()), structures, strict=True)
        ]
        known = [
            (row, structure) for row, structure in zip(rows, structures, strict=True) if not isinstance(row, Failure)
        ]
        values = iter(self._values(known))
        return [row if isinstance(row, Failure) else next(values) for row in rows]

    def _foreign(self, structure: Structure) -> Failure | None:
        """A Failure where the model has never seen an element."""
        foreign = sorted(element.symbol for element in structure.composition.elements if element.Z not in self._known)
        if not foreign:
            return None
        return Failure("unknown-element", f"no crystal that the model learned from has {', '.join(foreign)}")

    def _values(self, known: Sequence[tuple[NDArray[np.float32], Structure]]) -> list[Values]:
        """Value and uncertainty of crystals with their features."""
        from matinvent.predictors.split import formula_key

        if not known:
            return []
        keys = [formula_key(np.array(structure.atomic_numbers)) for _, structure in known]
        predicted = self._ensemble.predict(self._inputs.make(np.stack([row for row, _ in known]), keys))
        value, spread = (info.name for info in self.properties)
        return [
            {value: mean, spread: deviation}
            for mean, deviation in zip(predicted.mean.tolist(), predicted.deviation.tolist(), strict=True)
        ]


class _Shipped(Learned):
    """A predictor of the package; a subclass declares its properties without loading anything."""

    model: str

    def __init_subclass__(cls, model: str) -> None:
        spec = SPECS[model]
        cls.model = model
        cls.properties = declare(spec.name, spec.unit, spec.description, spec.bounds, spec.source)

    def __init__(self) -> None:
        super().__init__(self.model)


class BandGap(_Shipped, model="band_gap"):
    """Band gap of PBE, which is too small against experiment by some 40 %."""


class BandGapHse(_Shipped, model="band_gap_hse"):
    """Band gap of the hybrid functional HSE, closer to experiment, from fewer labels."""


class RefractiveIndex(_Shipped, model="refractive_index"):
    """Refractive index of crystals with a gap; of a metal it means nothing."""


class DielectricElectronic(_Shipped, model="dielectric_electronic"):
    """Electronic part of the dielectric constant of crystals with a gap; of a metal it means nothing."""


class Synthesizability(_Shipped, model="synthesizability"):
    """Likeness to crystals that have been made; above 0.5 are at least 85 % of those of unseen formulas."""


class BulkModulusLearned(_Shipped, model="bulk_modulus_learned"):
    """Bulk modulus, from labels instead of an equation of state."""


class ShearModulusLearned(_Shipped, model="shear_modulus_learned"):
    """Shear modulus, from labels instead of strains."""


class MagneticDensityLearned(_Shipped, model="magnetic_density_learned"):
    """Magnetisation of the DFT ground state: unlike the sum of moments it knows of compensated magnets."""


class FormationEnergyLearned(_Shipped, model="formation_energy_learned"):
    """Formation energy on the scale of the Materials Project."""
