"""How well a crystal screens a static electric field, and the figure of merit of high-k dielectrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from matinvent.errors import Failure
from matinvent.predictors.catalogue import find_model
from matinvent.properties.evaluator import PropertyInfo, Values
from matinvent.properties.learned import BandGap, declare

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Predicted gap (eV) below which a crystal counts as a metal, whose static dielectric constant is infinite. It is also
#: where the labels end.
METALLIC = 0.1

_BOUNDS = (1.0, 400.0)
_SOURCE = "Petousis et al., Sci. Data 4, 160134 (2017)"


def _declared() -> tuple[PropertyInfo, ...]:
    value, spread = declare(
        "dielectric",
        "1",
        "Total (electronic and ionic) static dielectric constant, mean over directions; learned from labels.",
        _BOUNDS,
        _SOURCE,
    )
    merit, merit_spread = declare(
        "figure_of_merit",
        "eV",
        "Band gap (PBE) times total dielectric constant, both learned; high for good insulators of capacitors.",
        (0.0, 2000.0),
        f"{_SOURCE}; method: Yim et al., NPG Asia Mater. 7, e190 (2015)",
    )
    # The forces on displaced atoms make it dearer than other learned properties.
    return tuple(_slower(info) for info in (value, spread, merit, merit_spread))


def _slower(info: PropertyInfo) -> PropertyInfo:
    return replace(info, cost="seconds", needs=("relaxed structure", "potential", "labels"))


class Dielectric:
    """Dielectric constant and its product with the band gap, with their standard deviations.

    The deviations are of single labels. That of the figure of merit takes the errors of its factors as independent. A
    crystal whose band gap is predicted below :data:`METALLIC` is a failure ``metal``: its static dielectric constant
    is no finite number, and the labels know of none.

    Args:
        model: the shipped model, or a file of ``matinvent predictor train LABELS --property dielectric``.

    Raises:
        ConfigError: there is no such model.
        CheckpointError: the file cannot be read, or was made with another band-gap predictor.
    """

    properties = _declared()

    def __init__(self, model: str = "dielectric") -> None:
        from matinvent.predictors.dielectric_process import Process

        self._gap = BandGap()
        self._model = Process.load(find_model(model))
        self.params: Mapping[str, Any] = {
            "model": model, "potential": "chgnet-0.3.0", "metallic_below": METALLIC,
        }  # fmt: skip
        self._known = frozenset(self._model.card.elements)
        self.version = f"1-{self._model.version}-{self._gap.version}"

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Values of each crystal.

        Failure kinds: those of the band gap, ``metal``, ``unknown-element`` (no labelled crystal has it), and those of
        :func:`matinvent.predictors.ionic.ionic_features`.
        """
        gaps = [
            gap if isinstance(gap, Failure) else self._refused(gap["band_gap"], structure) or gap
            for gap, structure in zip(self._gap.evaluate(structures), structures, strict=True)
        ]
        open_ones = [structure for gap, structure in zip(gaps, structures, strict=True) if not isinstance(gap, Failure)]
        found = iter(self._predicted(open_ones))
        return [gap if isinstance(gap, Failure) else _values(gap, next(found)) for gap in gaps]

    def _refused(self, gap: float | Failure, structure: Structure) -> Failure | None:
        """Why nothing can be said of a crystal, known before the dear part."""
        if isinstance(gap, Failure):
            return gap
        if gap < METALLIC:
            return Failure("metal", f"predicted band gap {gap:.2f} eV: a metal has no static dielectric constant")
        foreign = sorted(element.symbol for element in structure.composition.elements if element.Z not in self._known)
        if foreign:
            return Failure("unknown-element", f"no crystal that the model learned from has {', '.join(foreign)}")
        return None

    def _predicted(self, structures: Sequence[Structure]) -> list[tuple[float, float] | Failure]:
        """Dielectric constants and their deviations."""
        from matinvent.predictors.dielectric import make_inputs

        rows = make_inputs(structures, self._model.card.parents)
        known = [row for row in rows if not isinstance(row, Failure)]
        if not known:
            return [row for row in rows if isinstance(row, Failure)]
        told = self._model.predict(np.stack(known))
        pairs = iter(zip(told.mean.tolist(), told.deviation.tolist(), strict=True))
        return [row if isinstance(row, Failure) else next(pairs) for row in rows]


def _values(gap: Values, told: tuple[float, float] | Failure) -> Values | Failure:
    if isinstance(told, Failure):
        return told
    constant, spread = told
    width, width_spread = cast("float", gap["band_gap"]), cast("float", gap["band_gap_uncertainty"])
    merit_spread = math.hypot(constant * width_spread, width * spread)
    return {
        "dielectric": constant,
        "dielectric_uncertainty": spread,
        "figure_of_merit": constant * width,
        "figure_of_merit_uncertainty": min(merit_spread, 2000.0),
    }
