"""Models on disk: one safetensors file with weights, templates and a readable header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from matinvent.errors import CheckpointError
from matinvent.generators.diffcsp.critic import StabilityCritic
from matinvent.generators.diffcsp.library import TemplateLibrary
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.generators.diffcsp.network import NetworkConfig
from matinvent.generators.diffcsp.sampler import SamplerConfig
from matinvent.generators.diffcsp.seen import SeenFormulas

FORMAT = "matinvent-diffcsp-2"
_LIBRARY = "library."
_SEEN = "seen"
#: Settings of the sampler that belong to a campaign, not to a model.
_CHOSEN = frozenset(("templates", "elements"))


def save_model(model: DiffCSP, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a model atomically: a reader sees the old file or the new one, never half of it."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    for name, array in model.library.arrays.items():
        tensors[_LIBRARY + name] = torch.from_numpy(np.ascontiguousarray(array))
    if model.seen is not None:
        tensors[_SEEN] = torch.from_numpy(model.seen.hashes)
    header = {
        "format": FORMAT,
        "name": model.name,
        "max_atoms": str(model.max_atoms),
        "network": json.dumps(asdict(model.denoiser.config)),
        "critic": json.dumps(asdict(model.critic.config) if model.critic else None),
        "sampler": json.dumps({name: value for name, value in vars(model.sampler).items() if name not in _CHOSEN}),
        **(notes or {}),
    }
    temporary = path.with_name(path.name + ".part")
    save_file(tensors, temporary, metadata=header)
    temporary.replace(path)


def load_model(path: Path, device: torch.device | str = "cpu") -> DiffCSP:
    """Read a model written by :func:`save_model`; half-precision weights become single.

    Raises:
        CheckpointError: the file is missing, damaged, or not a MatInvent model.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {header.get('format')!r} is not {FORMAT!r}")
    library = {n.removeprefix(_LIBRARY): tensors.pop(n).numpy() for n in list(tensors) if n.startswith(_LIBRARY)}
    model = DiffCSP(
        NetworkConfig(**json.loads(header["network"])),
        TemplateLibrary(**library),
        max_atoms=int(header["max_atoms"]),
        sampler=SamplerConfig(**json.loads(header["sampler"])),
        name=header["name"],
    )
    if _SEEN in tensors:
        model.seen = SeenFormulas(tensors.pop(_SEEN).numpy())
    critic = json.loads(header["critic"])
    if critic is not None:
        model.adopt(StabilityCritic(NetworkConfig(**critic)))
    try:
        model.load_state_dict({name: value.float() for name, value in tensors.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path}: weights do not fit the network: {error}") from None
    return model.to(device)
