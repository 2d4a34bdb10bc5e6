"""Replay buffer: the best crystals of the campaign so far, one per composition, to be learned again."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    """

    structure: Structure
    composition: str
    credit: float


@dataclass(frozen=True, slots=True)
class _Entry:
    structure: Structure
    reward: float


class ReplayBuffer:
    """Keeps the raw rewards; the diversity filter is applied anew at each draw, so credits are never stale."""

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._entries: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, structure: Structure, composition: str, reward: float) -> None:
        """Remember a crystal if its reward is above ``min_reward`` and better than what is held.

        Of one composition the best crystal is kept, of all compositions the ``size`` best; the older one wins a tie.

        Raises:
            ValueError: the reward is not a number in [0, 1].
        """
        if not (math.isfinite(reward) and 0 <= reward <= 1):
            raise ValueError(f"reward of {composition} is {reward}; expected a number in [0, 1]")
        held = self._entries.get(composition)
        if reward <= self._config.min_reward or (held is not None and reward <= held.reward):
            return
        self._entries.pop(composition, None)  # a better crystal is a new entry: it comes last in age
        self._entries[composition] = _Entry(structure.copy(), reward)
        if len(self._entries) > self._config.size:
            del self._entries[self._worst()]

    def _worst(self) -> str:
        """Composition of the lowest reward, the youngest of equals."""
        return min(reversed(self._entries), key=lambda composition: self._entries[composition].reward)

    def prune(self, diversity: DiversityFilter) -> None:
        """Forget the compositions that the diversity filter rewards no more."""
        self._entries = {name: entry for name, entry in self._entries.items() if diversity.factor(name) > 0}

    def sample(self, n: int, rng: np.random.Generator, diversity: DiversityFilter) -> list[Replayed]:
        """Draw up to ``n`` different crystals, all equally likely, with the credit they have now.

        Crystals whose credit has become 0 are not drawn.
        """
        worth = [
            Replayed(entry.structure, name, entry.reward * diversity.factor(name))
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
                {"composition": name, "reward": entry.reward, "structure": entry.structure.as_dict()}
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
                str(entry["composition"]): _Entry(Structure.from_dict(entry["structure"]), float(entry["reward"]))
                for entry in state["entries"]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"state of the replay buffer is damaged: {error!r}") from None
