"""Deep ensembles: several small networks that each predict a mean and a variance, as one file.

The spread of the members and the variances they give make the uncertainty (Lakshminarayanan et al., NeurIPS 2017).
A model is a safetensors file: weights in 8 bits, and all that is known of the model as JSON in the header. Asking it
takes numpy alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from matinvent.errors import CheckpointError
from matinvent.predictors.features import feature_names
from matinvent.predictors.targets import transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FORMAT = "matinvent-predictor-1"

Kind = Literal["regression", "pu"]

#: Features are cut off at so many standard deviations: a crystal unlike all others must not send a network astray.
_FARTHEST = 6.0

#: Variances (of standardised targets) are e to the power of at least and at most these.
LOG_VARIANCE = (-9.0, 4.0)


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a model; JSON values throughout.

    Attributes:
        name: of the property.
        unit: of the property; ``1`` for dimensionless.
        description: one sentence.
        bounds: predictions are cut off here.
        source: data that the model learned from.
        kind: ``regression``, or ``pu``: a score in 0..1 learned from positive and unlabelled crystals.
        target: name of the transform under which it was learned.
        blocks: features that it sees.
        parents: shipped predictors whose predictions it sees too -> their versions.
        elements: atomic numbers in the training data; nothing is known of others.
        centre: mean of the transformed targets; for ``pu`` what is added to the log-odds.
        scale: their standard deviation.
        noise: factor on the members' standard deviations, and the standard deviation that is always added (in units of
            ``scale``); both from predictions for formulas that a member did not train on.
        training: settings, data, split.
        metrics: name -> value, on the test formulas.
    """

    name: str
    unit: str
    description: str
    bounds: tuple[float, float]
    source: str
    kind: Kind
    target: str
    blocks: Sequence[str]
    elements: Sequence[int]
    parents: Mapping[str, str] = field(default_factory=dict)
    centre: float = 0.0
    scale: float = 1.0
    noise: tuple[float, float] = (1.0, 0.0)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """One dense layer of all K members.

    Attributes:
        weight: shape (K, inputs, outputs).
        bias: shape (K, 1, outputs).
    """

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Prediction:
    """Values of N crystals in the property's unit, and their standard deviations, shape (N,) each."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True)
class Ensemble:
    """K networks of the same shape.

    Attributes:
        card: what is known of the model.
        mean: of the features over the training rows, shape (F,).
        deviation: their standard deviations, shape (F,), positive.
        layers: dense layers with SiLU between them; two outputs, mean and log variance of the standardised target, or
            for ``pu`` one, the log-odds.
    """

    card: Card
    mean: Floats
    deviation: Floats
    layers: Sequence[Layer]

    def predict(self, features: NDArray[np.floating[Any]]) -> Prediction:
        """Values and uncertainties of crystals.

        Args:
            features: shape (N, F), as :meth:`~matinvent.predictors.inputs.Inputs.make` gives them.
        """
        raw = self.members(features)
        if self.card.kind == "pu":
            scores = 1.0 / (1.0 + np.exp(-raw[..., 0] - self.card.centre))
            return Prediction(scores.mean(axis=0), scores.std(axis=0))
        factor, floor = self.card.noise
        variance = np.exp(np.clip(raw[..., 1], *LOG_VARIANCE)).mean(axis=0) * factor**2 + floor**2
        learned = raw[..., 0].mean(axis=0) * self.card.scale + self.card.centre
        spread = np.sqrt(variance + raw[..., 0].var(axis=0)) * self.card.scale
        way = transform(self.card.target)
        lower, upper = self.card.bounds
        deviation = np.minimum(spread * way.slope(learned), upper - lower)
        return Prediction(np.clip(way.inverse(learned), lower, upper), deviation)

    def members(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """What the last layers of the members give, shape (K, N, outputs)."""
        values = self.standardised(features)[None]
        for layer in self.layers[:-1]:
            values = _silu(values @ layer.weight + layer.bias)
        return (values @ self.layers[-1].weight + self.layers[-1].bias).astype(np.float64)

    def standardised(self, features: NDArray[np.floating[Any]]) -> Floats:
        """The features as the networks see them, shape (N, F)."""
        values = (np.asarray(features, dtype=np.float32) - self.mean) / self.deviation
        return np.clip(values, -_FARTHEST, _FARTHEST)

    @cached_property
    def version(self) -> str:
        """Changes whenever a prediction may change."""
        digest = hashlib.sha256(json.dumps(asdict(self.card), sort_keys=True).encode())
        for array in (
            self.mean,
            self.deviation,
            *(part for layer in self.layers for part in (layer.weight, layer.bias)),
        ):
            digest.update(array.tobytes())
        return digest.hexdigest()[:12]

    def rounded(self) -> Ensemble:
        """The ensemble as it will be when it is read from its file."""
        layers = [Layer(_restore(*_quantise(layer.weight)), layer.bias) for layer in self.layers]
        return Ensemble(self.card, self.mean, self.deviation, layers)

    def save(self, path: Path) -> None:
        """Write the model atomically: a reader sees the old file or the new one, never half of it."""
        arrays: dict[str, NDArray[Any]] = {"mean": self.mean, "deviation": self.deviation}
        for number, layer in enumerate(self.layers):
            arrays[f"{number}.weight"], arrays[f"{number}.step"] = _quantise(layer.weight)
            arrays[f"{number}.bias"] = layer.bias
        header = {"format": FORMAT, "card": json.dumps(asdict(self.card), allow_nan=False)}
        temporary = path.with_name(path.name + ".part")
        temporary.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, header))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Ensemble:
        """Read a model.

        Raises:
            CheckpointError: the file is missing, damaged, no predictor, or its parts do not fit together.
        """
        card, arrays = _read(path, weights=True)
        try:
            layers = [
                Layer(_restore(arrays[f"{number}.weight"], arrays[f"{number}.step"]), arrays[f"{number}.bias"])
                for number in range(sum(name.endswith(".weight") for name in arrays))
            ]
            loaded = cls(card, arrays["mean"], arrays["deviation"], layers)
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: a damaged predictor ({error})") from None
        loaded._check(path)
        return loaded

    def _check(self, path: Path) -> None:
        """Refuse a file whose weights do not fit the features or each other."""
        inputs = len(feature_names(self.card.blocks)) + len(self.card.parents)
        widths = [inputs, *(layer.weight.shape[2] for layer in self.layers)]
        expected = [*pairwise(widths)]
        found = [layer.weight.shape[1:] for layer in self.layers]
        outputs = 1 if self.card.kind == "pu" else 2
        if not found or found != expected or widths[-1] != outputs or self.mean.shape != (widths[0],):
            raise CheckpointError(
                f"{path}: its weights are for {len(self.mean)} features, this version makes {inputs} of the blocks "
                f"{', '.join(self.card.blocks)}, or they do not fit together; train it again"
            )


def read_card(path: Path) -> Card:
    """What is known of a model in a file, without its weights.

    Raises:
        CheckpointError: the file is missing, damaged, or no predictor.
    """
    return _read(path, weights=False)[0]


def _read(path: Path, *, weights: bool) -> tuple[Card, dict[str, Any]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()} if weights else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: no predictor: its format is {header.get('format')!r}, not {FORMAT!r}")
    try:
        values = json.loads(header["card"])
        card = Card(**{**values, "bounds": tuple(values["bounds"]), "noise": tuple(values["noise"])})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its header is damaged ({error})") from None
    return card, arrays


def _silu(values: Floats) -> Floats:
    """The layers' activation x / (1 + exp(-x)), without overflow."""
    half = np.float32(0.5)
    return half * values * (np.float32(1.0) + np.tanh(half * values))


def _quantise(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Weights as multiples of a step for each output of each member: (K, inputs, outputs) and (K, 1, outputs)."""
    step = np.maximum(np.abs(weight).max(axis=1, keepdims=True), np.float32(1e-12)) / np.float32(127.0)
    return np.rint(weight / step).astype(np.int8), step.astype(np.float32)


def _restore(steps: NDArray[np.int8], step: Floats) -> Floats:
    return steps.astype(np.float32) * step
