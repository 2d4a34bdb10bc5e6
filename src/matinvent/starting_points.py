"""What a campaign starts from beside its prior: crystals from files, and the trained agent of another campaign.

Both are copied into the run directory before they are used, so that a campaign that is killed and resumed
starts from the same, whatever became of the files meanwhile.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinvent.candidate import Candidate
from matinvent.errors import CheckpointError, ConfigError, Failure, InputError
from matinvent.learning.learner import Learner
from matinvent.priors import load_generator
from matinvent.run_directory import RunDirectory, weights_identity
from matinvent.screening.screen import Screener
from matinvent.trained_agent import newest_state

if TYPE_CHECKING:
    import torch
    from pymatgen.core import Structure

    from matinvent.config import CampaignConfig, StartConfig
    from matinvent.config_screening import ScreeningConfig
    from matinvent.screening.constraints import Constraints

#: Iteration that the ledger gives to starting crystals: they are evaluated before the first one.
BEFORE_THE_FIRST = -1

_CRYSTALS = "start_crystals.json"
_AGENT = "start_agent.pt"


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """Where a campaign starts.

    Attributes:
        crystals: of each crystal where it comes from, and the crystal or why it cannot be read.
        agent: weights of the agent; None for those of the prior.
        agents_prior: identity of the prior from which that agent's campaign began.
    """

    crystals: tuple[tuple[str, Structure | Failure], ...] = ()
    agent: dict[str, torch.Tensor] | None = None
    agents_prior: str = ""

    @classmethod
    def of(cls, config: StartConfig, directory: RunDirectory) -> StartingPoint:
        """Read what the configuration names, or what was copied into the run directory before.

        Raises:
            InputError: files of crystals do not exist, or hold none that can be read.
            CheckpointError: the other run directory is none, or its checkpoint or our copy is damaged.
        """
        agent = _copied(directory, _AGENT, lambda: _agent_of(Path(config.agent or ""))) if config.agent else None
        crystals = _copied(directory, _CRYSTALS, lambda: _read(config.crystals)) if config.crystals else None
        weights, prior = (None, "") if agent is None else _load_agent(agent, directory.path / _AGENT)
        return cls(_decode(crystals) if crystals else (), weights, prior)

    def candidates(self, stage: str = "") -> list[Candidate]:
        """The crystals at the start of their way, named by their source, for a stage to judge."""
        return [
            Candidate.of(BEFORE_THE_FIRST, index, crystal, source, stage)
            for index, (source, crystal) in enumerate(self.crystals)
        ]

    def learner(self, config: CampaignConfig) -> tuple[Learner, str]:
        """A learner at the start, and the identity of the campaign's prior.

        Its agent samples within the campaign's constraints.

        Raises:
            ConfigError: the agent comes from another prior, so that it could not be held near this one.
        """
        generator, start = config.generator, config.start
        agent = load_generator(generator.prior, generator.within(config.constraints))
        prior, identity = agent.clone(), weights_identity(agent.state_dict())
        if self.agent is not None:
            if self.agents_prior != identity:
                raise ConfigError(
                    f"start.agent: the campaign in {start.agent} began from another prior than '{generator.prior}'; "
                    f"set generator.prior to that one"
                )
            agent.load_state_dict(self.agent)
            if start.prior == "agent":
                prior.load_state_dict(self.agent)
        return Learner(agent, prior, config.learning), identity


def screen_given(
    candidates: list[Candidate], config: ScreeningConfig, constraints: Constraints, progress: Callable[[float], None]
) -> list[Candidate]:
    """Screen crystals of the user's: all of them, and that they are known or alike is not held against them."""
    lenient = config.model_copy(update={"exhaustive": True, "uniqueness": False, "novelty": False})
    with closing(Screener(lenient, constraints)) as screener:
        return screener.screen(candidates, len(candidates), progress)


def _copied(directory: RunDirectory, name: str, make: Callable[[], bytes]) -> bytes:
    """The copy in the run directory, which is made if there is none yet."""
    content = directory.kept(name)
    if content is None:
        content = make()
        directory.keep(name, content)
    return content


def _agent_of(path: Path) -> bytes:
    """The agent of a run directory as of its newest checkpoint, and the identity of its prior."""
    import torch

    _, weights, memory = newest_state(path)
    buffer = io.BytesIO()
    torch.save({"agent": weights["agent"], "prior": memory["prior"]}, buffer)
    return buffer.getvalue()


def _load_agent(content: bytes, path: Path) -> tuple[dict[str, torch.Tensor], str]:
    import torch

    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return dict(saved["agent"]), str(saved["prior"])
    except Exception as error:  # noqa: BLE001 - torch raises anything for damaged files
        raise CheckpointError(f"{path}: damaged ({type(error).__name__})") from None


def _read(paths: Sequence[str]) -> bytes:
    """Crystals of files and folders, as JSON."""
    from matinvent.cli.structure_files import read_structures

    records: list[dict[str, Any]] = []
    for source, crystal in read_structures([Path(path) for path in paths]):
        if isinstance(crystal, Failure):
            records.append({"source": source, "failure": [crystal.kind, crystal.reason]})
        else:
            records.append({"source": source, "structure": _plain(crystal).as_dict()})
    if all("failure" in record for record in records):
        source, (_, reason) = records[0]["source"], records[0]["failure"]
        raise InputError(f"start.crystals: none of {len(records)} crystals can be read, e.g. {source}: {reason}")
    return json.dumps(records).encode()


def _plain(crystal: Structure) -> Structure:
    """Lattice, elements and positions; files may hold forces, charges and whatever else beside them."""
    from pymatgen.core import Structure

    plain = Structure(crystal.lattice, crystal.species_and_occu, crystal.frac_coords)
    plain.remove_oxidation_states()
    return plain


def _decode(content: bytes) -> tuple[tuple[str, Structure | Failure], ...]:
    from pymatgen.core import Structure

    return tuple(
        (record["source"], Failure(*record["failure"]))
        if "failure" in record
        else (record["source"], Structure.from_dict(record["structure"]))
        for record in json.loads(content)
    )
