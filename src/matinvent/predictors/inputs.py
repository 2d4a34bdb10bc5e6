"""What a model sees of crystals: some blocks of features, and what other models say.

A model may take another property's prediction for a feature (its parent): that of the one member that left out the
formula's fold. Such a prediction is the same for formulas that were in the parent's labels and for new ones, and never
rests on the crystal's own label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import CheckpointError, ConfigError
from matinvent.predictors.catalogue import shipped_models
from matinvent.predictors.ensemble import Card, Ensemble
from matinvent.predictors.features import block_names, feature_names
from matinvent.predictors.split import fold_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class Inputs:
    """Makes a model's inputs from all features of crystals.

    Args:
        blocks: of features.
        parents: shipped predictors -> the version that is needed; an empty version is any.

    Raises:
        ConfigError: there is no such block or shipped predictor.
        CheckpointError: a parent is of another version, or has a parent itself.
    """

    def __init__(self, blocks: Sequence[str], parents: Mapping[str, str] | None = None) -> None:
        self._columns = columns_of(blocks)
        self._parents = {name: _parent(name, version) for name, version in (parents or {}).items()}

    @classmethod
    def of(cls, card: Card) -> Inputs:
        """The inputs of a model."""
        return cls(card.blocks, card.parents)

    @property
    def parents(self) -> dict[str, str]:
        """Names and versions of the parents."""
        return {name: ensemble.version for name, ensemble in self._parents.items()}

    def make(self, features: Floats, keys: Sequence[str]) -> Floats:
        """Inputs of crystals, shape (N, I).

        Args:
            features: all features, shape (N, F), in the order of ``feature_names(block_names())``.
            keys: formulas (see :func:`~matinvent.predictors.split.formula_key`).
        """
        told = [_told(parent, features, keys) for parent in self._parents.values()]
        return np.concatenate([features[:, self._columns], *told], axis=1)


def columns_of(blocks: Sequence[str]) -> NDArray[np.int64]:
    """Positions of the features of some blocks among all features."""
    wanted = set(feature_names(blocks))
    return np.array([i for i, name in enumerate(feature_names(block_names())) if name in wanted], dtype=np.int64)


def _parent(name: str, version: str) -> Ensemble:
    shipped = shipped_models()
    if name not in shipped:
        raise ConfigError(f"there is no shipped predictor '{name}'; known are {', '.join(shipped) or 'none'}")
    ensemble = Ensemble.load(shipped[name])
    if ensemble.card.parents:
        raise ConfigError(f"the predictor '{name}' has parents of its own; choose another")
    if version not in {"", ensemble.version}:
        raise CheckpointError(
            f"the model rests on version {version} of '{name}', here is {ensemble.version}; train again"
        )
    return ensemble


def _told(parent: Ensemble, features: Floats, keys: Sequence[str]) -> Floats:
    """What the parent's members say of the formulas that they left out, standardised, shape (N, 1)."""
    outputs = parent.members(features[:, columns_of(parent.card.blocks)])
    folds = fold_of(keys, len(outputs))
    return outputs[folds, np.arange(len(keys)), :1].astype(np.float32)
