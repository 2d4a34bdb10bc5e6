"""One record per crystal: where it came from, what became of it, and why.

The record travels through the rooms of a campaign and each room writes its own fields. It
imports neither torch nor pymatgen at run time, so that ledgers and reports stay light.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from matinvent.errors import Failure

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Fate(StrEnum):
    """The last station a crystal reached; every candidate ends with exactly one.

    ``SURVIVED`` means that the crystal passed the screening but was not chosen for evaluation;
    ``GENERATED`` as a final fate means that the crystal is valid, but that screening stopped before
    its turn because enough survivors had been found. ``EXCLUDED`` is a valid crystal that the campaign's constraints
    do not admit.
    """

    GENERATED = "generated"
    INVALID = "invalid"
    EXCLUDED = "excluded"
    RELAX_FAILED = "relax_failed"
    UNSTABLE = "unstable"
    DUPLICATE = "duplicate"
    KNOWN = "known"
    SURVIVED = "survived"
    EVAL_FAILED = "eval_failed"
    SCORED = "scored"


@dataclass(slots=True)
class Candidate:
    """A generated crystal and everything the campaign learned about it.

    Attributes:
        iteration: campaign iteration that sampled it (0-based).
        index: position in that iteration's sample (0-based); (iteration, index) is its identity.
        structure: the crystal as generated; None when the generator produced no usable crystal.
        relaxed: the crystal after relaxation; None before or without it.
        fate: the last station reached.
        reason: why the fate is what it is, one sentence; empty for SCORED.
        energy_per_atom: potential energy of the relaxed crystal (eV/atom).
        e_above_hull: energy above the reference hull (eV/atom).
        decomposition: competing phases with their shares of the atoms, such as "0.67 MgO + 0.33 TiO2".
        twin: the crystal that this one equals: an earlier one (see :attr:`label`) or a known one; empty if new.
        rmsd: root-mean-square displacement between generated and relaxed atoms (A).
        relax_steps: relaxation steps taken.
        converged: whether the relaxation met its force criterion.
        given_up: whether the relaxation was ended early because the crystal cannot become stable; its energy
            is then an upper bound.
        hit: whether the properties meet every objective; None unless SCORED.
        source: where a user's crystal comes from (a file); empty for a generated one.
        proposed_by: ``agent`` or ``prior``; empty for a user's crystal.
        stage: the stage of the campaign that judged it; empty in a campaign without stages.
        properties: property name -> value in the property's unit.
        scores: objective name -> desirability in [0, 1].
        reward: aggregated desirability in [0, 1]; None unless SCORED.
        credit: the reward after the diversity filter, what the agent learns from; None unless SCORED.
    """

    iteration: int
    index: int
    structure: Structure | None
    relaxed: Structure | None = None
    fate: Fate = Fate.GENERATED
    reason: str = ""
    energy_per_atom: float | None = None
    e_above_hull: float | None = None
    decomposition: str = ""
    twin: str = ""
    rmsd: float | None = None
    relax_steps: int | None = None
    converged: bool | None = None
    given_up: bool | None = None
    properties: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    reward: float | None = None
    credit: float | None = None
    hit: bool | None = None
    source: str = ""
    proposed_by: str = ""
    stage: str = ""

    @classmethod
    def of(
        cls,
        iteration: int,
        index: int,
        crystal: Structure | Failure,
        source: str = "",
        stage: str = "",
        proposed_by: str = "",
    ) -> Candidate:
        """A drawn or read crystal at the start of its way; one that could not be built is invalid, with its reason."""
        candidate = cls(iteration, index, None, source=source, stage=stage, proposed_by=proposed_by)
        if isinstance(crystal, Failure):
            candidate.reject(Fate.INVALID, str(crystal))
        else:
            candidate.structure = crystal
        return candidate

    @property
    def label(self) -> str:
        """How messages name the crystal: its file, or its number in the sample."""
        return self.source or f"crystal {self.index} of iteration {self.iteration}"

    @property
    def final(self) -> Structure | None:
        """The relaxed crystal where there is one, else the generated one."""
        return self.relaxed if self.relaxed is not None else self.structure

    @property
    def composition(self) -> str:
        """Reduced formula, elements in electronegativity order (pymatgen); empty without crystal."""
        return "" if self.final is None else self.final.composition.reduced_formula

    @property
    def chemical_system(self) -> str:
        """Elements in alphabetical order, e.g. Al-Fe-O (pymatgen); empty without crystal."""
        return "" if self.final is None else self.final.chemical_system

    def reject(self, fate: Fate, reason: str) -> None:
        """Record that the crystal goes no further."""
        self.fate = fate
        self.reason = reason


#: Stations of the funnel in the order a crystal passes them.
FUNNEL = ("sampled", "valid", "relaxed", "stable", "unique", "novel", "scored")

_LAST_STATION = {
    Fate.GENERATED: "valid",
    Fate.INVALID: "sampled",
    Fate.EXCLUDED: "valid",
    Fate.RELAX_FAILED: "valid",
    Fate.UNSTABLE: "relaxed",
    Fate.DUPLICATE: "stable",
    Fate.KNOWN: "unique",
    Fate.SURVIVED: "novel",
    Fate.EVAL_FAILED: "novel",
    Fate.SCORED: "scored",
}


def commonest_fate(candidates: Iterable[Candidate]) -> str:
    """What became of most candidates, for people: ``5 of 6 excluded, e.g. cubic crystal``."""
    listed = list(candidates)
    if not listed:
        return "none was proposed"
    fate, count = Counter(candidate.fate for candidate in listed).most_common(1)[0]
    reason = next((candidate.reason for candidate in listed if candidate.fate is fate), "")
    return f"{count} of {len(listed)} {fate.value.replace('_', ' ')}" + (f", e.g. {reason}" if reason else "")


def funnel(candidates: Iterable[Candidate]) -> dict[str, int]:
    """Count how many candidates reached each station of :data:`FUNNEL`.

    A crystal whose screening was never needed (fate ``GENERATED``) counts as valid, no further.
    """
    counts = dict.fromkeys(FUNNEL, 0)
    for candidate in candidates:
        reached = FUNNEL.index(_LAST_STATION[candidate.fate])
        for station in FUNNEL[: reached + 1]:
            counts[station] += 1
    return counts
