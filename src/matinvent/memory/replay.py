"""Replay buffer: the best crystals of the campaign so far, one per composition, to be learned again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.config import ReplayConfig
from matinvent.errors import CheckpointError
from matinvent.memory.diversity import DiversityFilter

if TYPE_CHECKING:
    import numpy as np
    from pymatgen.core import Structure


@dataclass(frozen=True, slots=True)
class Replayed:
    """A remembered crystal and what it is worth now.

    Attributes:
        structure: the crystal.
        composition: its reduced formula.
        credit: its reward after the diversity filter as of now, in (0, 1].
        properties: property -> value, as far as evaluated.
    """

    structure: Structure
    composition: str
    credit: float
    properties: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Entry:
    structure: Structure
    reward: float
    properties: Mapping[str, float]
    stage: int


class ReplayBuffer:
    """Keeps the best crystals with their properties and what they were worth when they came.

    The diversity filter is applied anew at each draw; when the goal changes, :meth:`rescore` gives new rewards.
    """

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._entries: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(
        self,
        structure: Structure,
        composition: str,
        reward: float,
        properties: Mapping[str, float] = MappingProxyType({}),
        stage: int = 0,
    ) -> None:
        """Remember a crystal if its reward is above ``min_reward`` and better than what is held.

        Of one composition the best crystal is kept, of all compositions the ``size`` best; the older one wins a tie.

        Args:
            structure: the crystal, which is copied.
            composition: its reduced formula.
            reward: in [0, 1].
            properties: what its reward comes from.
            stage: the stage of the campaign (0-based) that evaluated it.

        Raises:
            ValueError: the reward is not a number in [0, 1].
        """
        if not (math.isfinite(reward) and 0 <= reward <= 1):
            raise ValueError(f"reward of {composition} is {reward}; expected a number in [0, 1]")
        held = self._entries.get(composition)
        if reward <= self._config.min_reward or (held is not None and reward <= held.reward):
            return
        self._entries.pop(composition, None)  # a better crystal is a new entry: it comes last in age
        self._entries[composition] = _Entry(structure.copy(), reward, dict(properties), stage)
        if len(self._entries) > self._config.size:
            del self._entries[self._worst()]

    def _worst(self) -> str:
        """Composition of the lowest reward, the youngest of equals."""
        return min(reversed(self._entries), key=lambda composition: self._entries[composition].reward)

    def rescore(self, reward_of: Callable[[Mapping[str, float], int], float | None]) -> None:
        """Give every crystal the reward that it has under another goal; who has none, or too little, leaves.

        Args:
            reward_of: reward of properties that a stage evaluated, None where they do not say what it is.
        """
        rewards = {name: reward_of(entry.properties, entry.stage) for name, entry in self._entries.items()}
        self._entries = {
            name: replace(self._entries[name], reward=reward)
            for name, reward in rewards.items()
            if reward is not None and reward > self._config.min_reward
        }

    def prune(self, diversity: DiversityFilter) -> None:
        """Forget the compositions that the diversity filter rewards no more."""
        self._entries = {name: entry for name, entry in self._entries.items() if diversity.factor(name) > 0}

    def sample(self, n: int, rng: np.random.Generator, diversity: DiversityFilter) -> list[Replayed]:
        """Draw up to ``n`` different crystals, all equally likely, with the credit they have now.

        Crystals whose credit has become 0 are not drawn.
        """
        worth = [
            Replayed(entry.structure, name, entry.reward * diversity.factor(name), entry.properties)
            for name, entry in self._entries.items()
            if diversity.factor(name) > 0
        ]
        if not worth:
            return []
        return [worth[index] for index in rng.choice(len(worth), size=min(n, len(worth)), replace=False)]

    def state_dict(self) -> dict[str, Any]:
        """The crystals (exact to the last bit), compositions and rewards, in order, as JSON values."""
        return {
            "entries": [
                {
                    "composition": name,
                    "reward": entry.reward,
                    "properties": dict(entry.properties),
                    "stage": entry.stage,
                    "structure": entry.structure.as_dict(),
                }
                for name, entry in self._entries.items()
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises:
            CheckpointError: the state is not one of a replay buffer.
        """
        from pymatgen.core import Structure

        try:
            self._entries = {
                str(entry["composition"]): _Entry(
                    Structure.from_dict(entry["structure"]),
                    float(entry["reward"]),
                    {str(name): float(value) for name, value in entry["properties"].items()},
                    int(entry["stage"]),
                )
                for entry in state["entries"]
            }
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise CheckpointError(f"state of the replay buffer is damaged: {error!r}") from None
