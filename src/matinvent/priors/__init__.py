"""Where pretrained generators come from: shipped priors, checkpoint files, a user's own factory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, cast

from matinvent.errors import ConfigError
from matinvent.plugins import load_callable

if TYPE_CHECKING:
    from matinvent.config import GeneratorConfig
    from matinvent.generators.protocol import Generator

SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class PriorInfo:
    """A shipped prior: its name, the first sentence of its model card, and its file."""

    name: str
    summary: str
    path: Path


def list_priors() -> list[PriorInfo]:
    """The priors inside the package."""
    folder = Path(str(resources.files("matinvent"))) / "data" / "priors"
    return [PriorInfo(path.stem, _summary(path), path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def _summary(path: Path) -> str:
    card = path.with_suffix(".md")
    if not card.is_file():
        return ""
    paragraphs = [line for line in card.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return paragraphs[0] if paragraphs else ""


def find_prior(name_or_path: str) -> Path | None:
    """File of a shipped prior or of a checkpoint, or None."""
    shipped = {prior.name: prior.path for prior in list_priors()}
    path = shipped.get(name_or_path, Path(name_or_path))
    return path if path.is_file() else None


def load_generator(name_or_path: str, config: GeneratorConfig) -> Generator:
    """Load a shipped prior by name, a checkpoint by path, or call a factory ``module:function``.

    A factory is called with the :class:`GeneratorConfig` and returns a generator.

    Raises:
        ConfigError: nothing of that name exists, or the factory cannot be imported.
        CheckpointError: the checkpoint cannot be read.
    """
    if ":" in name_or_path and not Path(name_or_path).exists():
        return _from_factory(name_or_path, config)
    path = find_prior(name_or_path)
    if path is None:
        shipped = ", ".join(prior.name for prior in list_priors())
        raise ConfigError(
            f"generator.prior: '{name_or_path}' is neither a shipped prior ({shipped or 'none'}), "
            f"a checkpoint file, nor a factory 'module:function'"
        )
    return _from_checkpoint(path, config)


def _from_checkpoint(path: Path, config: GeneratorConfig) -> Generator:
    import torch

    from matinvent.generators.diffcsp.checkpoint import load_model
    from matinvent.generators.diffcsp.elements import ElementRules
    from matinvent.generators.diffcsp.library import TemplateFilter
    from matinvent.generators.diffcsp.tilt import TiltConfig

    wanted = config.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("generator.device: 'cuda' was asked for, but torch sees no GPU; use 'auto' or 'cpu'")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    model = load_model(path, device)
    elements = ElementRules.of(config.elements)
    templates = TemplateFilter(**config.templates.model_dump())
    if elements.fewest > (templates.max_elements or elements.fewest):
        raise ConfigError(f"{elements.fewest} elements are required, but max_elements is {templates.max_elements}")
    templates = replace(
        templates,
        min_elements=max(templates.min_elements or 1, elements.fewest),
        max_elements=min(templates.max_elements or elements.most, elements.most),
    )
    model.library.weights(templates)  # refuses what no template has, before the start
    chosen = {name: getattr(config, name) for name in ("steps", "guidance", "candidates", "bfloat16")}
    model.sampler = replace(
        model.sampler,
        corrector_steps=config.corrector_steps,
        balanced=config.balanced is not False,
        alloys=config.balanced != "strictly",
        batch_size=config.batch_size,
        templates=templates,
        elements=elements,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    model.tilt_config = TiltConfig(**config.tilt.model_dump())
    return cast("Generator", model)


def _from_factory(name: str, config: GeneratorConfig) -> Generator:
    return cast("Generator", load_callable(name, "generator.prior")(config))
