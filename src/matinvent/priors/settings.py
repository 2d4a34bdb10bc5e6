"""Settings of a pretraining run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matinvent.config_files import read_yaml
from matinvent.errors import ConfigError
from matinvent.generators.diffcsp.network import NetworkConfig

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PretrainConfig(BaseModel):
    """Settings of a pretraining run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "my-prior"
    symmetric: bool = Field(True, description="Symmetry templates; false: template-free DiffCSP.")
    max_atoms: Annotated[int, Field(ge=1, le=200)] = 20
    initial: str | None = Field(
        None, description="Shipped prior or checkpoint to start from; weights of other shapes start afresh."
    )
    minutes: Positive = Field(30.0, description="Wall time of the optimisation.")
    seed: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] = 128
    chunks: Annotated[int, Field(ge=1)] = Field(4, description="Size-sorted parts of a batch; less padding.")
    optimizer: Literal["muon", "adamw"] = Field(
        "muon", description="Muon for the matrices of the message passing and AdamW for the rest, or AdamW for all."
    )
    learning_rate: Positive = Field(2e-3, description="Of AdamW.")
    muon_rate: Positive = Field(0.02, description="Learning rate of Muon.")
    coordinate_weight: Positive = Field(1.0, description="Weight of the coordinates; others have 1.")
    warmup: Annotated[int, Field(ge=1)] = Field(300, description="Optimizer steps of linear warm-up.")
    grad_clip: Positive = 1.0
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.999
    drop_class: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="Share trained without stability class.")
    guidance: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="Classifier-free guidance toward stable crystals that sampling uses by default."
    )
    bfloat16: bool = Field(True, description="Matrix products in bfloat16.")
    hidden: Annotated[int, Field(ge=8, multiple_of=2)] = 192
    edge: Annotated[int, Field(ge=4)] = 96
    layers: Annotated[int, Field(ge=1)] = 6
    workers: Annotated[int, Field(ge=0)] = Field(0, description="Training processes on a CPU; 0: one per core.")
    threads: Annotated[int, Field(ge=0)] = Field(0, description="CPU threads of a single worker; 0: one per core.")
    device: Literal["cpu", "cuda"] = "cpu"
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="Use only so many crystals (for trials).")

    critic_minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        10.0, description="Wall time of the stability critic's training; 0: no critic."
    )
    candidates: Annotated[int, Field(ge=1, le=16)] = Field(
        4, description="Samples per template that the critic chooses from, by default of the finished prior."
    )
    judge_every: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="Minutes between trials by sampling and screening (not counted as training); 0: none."
    )
    judge_samples: Annotated[int, Field(ge=1)] = Field(32, description="Crystals sampled in each trial.")

    @property
    def matrix_rate(self) -> float | None:
        """Learning rate of Muon; None when AdamW trains everything."""
        return self.muon_rate if self.optimizer == "muon" else None

    @property
    def network(self) -> NetworkConfig:
        """Sizes of the denoiser."""
        return NetworkConfig(hidden=self.hidden, edge=self.edge, layers=self.layers)

    @property
    def critic_network(self) -> NetworkConfig:
        """Sizes of the critic: two thirds of the denoiser's."""
        width = 2 * max(4, self.hidden // 3)
        return NetworkConfig(hidden=width, edge=max(4, 2 * self.edge // 3), layers=max(1, 2 * self.layers // 3))


def load_pretrain_config(path: Path | None, minutes: float | None = None) -> PretrainConfig:
    """Read a YAML file of pretraining settings (None: the defaults).

    Raises:
        ConfigError: the file is missing, or a key or value does not fit.
    """
    data = {} if path is None else read_yaml(path)
    if minutes is not None:
        data["minutes"] = minutes
    try:
        return PretrainConfig.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"'{'.'.join(map(str, f['loc']))}': {f['msg']}" for f in error.errors())
        raise ConfigError(f"{path or 'pretraining settings'}: {faults}") from None
