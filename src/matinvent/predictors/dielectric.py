"""The total dielectric constant from a thousand labels: what the model sees, how it is trained.

Labels alone are too few, so the model is told what they would have to teach: the band gap, learned from sixty times as
many crystals (the electronic part grows as the gap closes), and the response of the ions to a field (the ionic part
grows as polar modes soften).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure, InputError
from matinvent.predictors.catalogue import SPECS
from matinvent.predictors.dielectric_process import Process, train_process
from matinvent.predictors.ensemble import Card
from matinvent.predictors.features import block_names, describe, feature_names
from matinvent.predictors.inputs import Inputs
from matinvent.predictors.ionic import IONIC_NAMES, ionic_features
from matinvent.predictors.split import formula_key

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    Floats = NDArray[np.float32]

#: Weights of the blocks of features. Any of them can be e times as large or small, and R2 of the logarithm changes by
#: less than 0.01.
_BLOCKS = {"chgnet": 0.15, "composition": 0.35, "cell": 0.01, "pairs": 0.2}
_PARENT_WEIGHT = 0.1
_IONIC_WEIGHT = 0.35

_SPEC = SPECS["dielectric"]
(_PARENT,) = _SPEC.parents

#: Labels outside of this range are no insulators' (gaps of 0.1 eV and less give any value).
PLAUSIBLE = _SPEC.plausible


def make_inputs(structures: Sequence[Structure], parents: Mapping[str, str] | None = None) -> list[Floats | Failure]:
    """What the model sees of each crystal, shape (I,).

    Args:
        structures: the crystals.
        parents: version of the band-gap predictor that is needed; None: any.

    Raises:
        CheckpointError: another version is installed.
    """
    source = Inputs(tuple(_BLOCKS), {_PARENT: ""} if parents is None else parents)
    described = describe(structures, block_names())
    return [
        features if isinstance(features, Failure) else _joined(source, structure, features)
        for structure, features in zip(structures, described, strict=True)
    ]


def _joined(source: Inputs, structure: Structure, features: Floats) -> Floats | Failure:
    (ionic,) = ionic_features([structure])
    if isinstance(ionic, Failure):
        return ionic
    key = formula_key(np.array(structure.atomic_numbers))
    return np.concatenate([source.make(features[None], [key])[0], ionic])


def train_dielectric(structures: Sequence[Structure], inputs: Sequence[Floats], targets: Sequence[float]) -> Process:
    """Train the model anew; test formulas are those of all predictors.

    Args:
        structures: labelled crystals.
        inputs: of each (see :func:`make_inputs`).
        targets: their total dielectric constants.

    Raises:
        InputError: a label lies outside of :data:`PLAUSIBLE`; there are too few.
    """
    values = np.array(targets, dtype=np.float64)
    outside = values[~((values >= PLAUSIBLE[0]) & (values <= PLAUSIBLE[1]))]
    if len(outside):
        raise InputError(f"{outside[0]:g} is no dielectric constant; leave out what is not in {PLAUSIBLE}")
    numbers = [np.array(structure.atomic_numbers) for structure in structures]
    card = Card(
        name=_SPEC.name,
        unit=_SPEC.unit,
        description=_SPEC.description,
        bounds=_SPEC.bounds,
        source=_SPEC.source,
        kind=_SPEC.kind,
        target=_SPEC.transform,
        blocks=tuple(_BLOCKS),
        elements=sorted({int(z) for each in numbers for z in each}),
        training={"data": f"{len(values)} crystals; a Gaussian process, with ionic response and band gap as inputs"},
        parents=Inputs(tuple(_BLOCKS), {_PARENT: ""}).parents,
    )
    return train_process(np.stack(inputs), values, [formula_key(each) for each in numbers], groups(), card)


def groups() -> dict[str, tuple[int, float]]:
    """Number and weight of the inputs of each group, in their order."""
    blocks = {name: (len(feature_names([name])), _BLOCKS[name]) for name in block_names() if name in _BLOCKS}
    return {**blocks, _PARENT: (1, _PARENT_WEIGHT), "ionic": (len(IONIC_NAMES), _IONIC_WEIGHT)}
