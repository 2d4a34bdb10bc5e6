"""Is a reward earned, or hacked? What to look at before a campaign's hits are called discoveries.

Agents find the holes of a reward: pure metals that a model scores well, chemical systems about which the reference
hull knows nothing (so that everything in them looks stable), one element that carries the property. Each shows in the
composition of what was scored, early and late.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import InputError
from matinvent.experiments.records import Evaluated, Record, count_hits, hit_systems, read_record

if TYPE_CHECKING:
    from matinvent.config_goals import ConstraintsConfig
    from matinvent.screening.reference import ReferenceSet

#: From where on a share is named in the warnings.
_MANY_ELEMENTS, _MANY_SPARSE, _DOMINANT, _LOST_VALIDITY, _LOST_VARIETY = 0.2, 0.5, 0.5, 0.1, 0.5
_MANY_FAILED = 0.3
#: Crystals below which a share says nothing.
_FEW = 6

_ALLOYS = " (no symmetry: perhaps orderings of one alloy, which screening.disordered counts once)"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a set of scored crystals is made of; shares in [0, 1], None where there is nothing to share.

    Attributes:
        crystals: how many there are.
        hits: those that meet every objective.
        hit_systems: distinct chemical systems of these; all alloys of one kind count once.
        single_element_share: crystals of one element.
        chemical_systems: distinct ones, e.g. Al-Fe-O.
        sparse_system_share: of the chemical systems of several elements, those with fewer known stable compounds in
            the reference set than pairs of elements; their energies above the hull mean little.
        elements: distinct elements.
        effective_elements: exp of the entropy of the elements' occurrences; n for n equally frequent ones.
        top_element: the most frequent element.
        top_element_share: crystals that contain it.
        space_groups: distinct space groups.
        top_space_group: the most frequent one; 0 where there is none.
        top_space_group_share: crystals of it.
    """

    crystals: int
    hits: int
    hit_systems: int
    single_element_share: float | None
    chemical_systems: int
    sparse_system_share: float | None
    elements: int
    effective_elements: float | None
    top_element: str
    top_element_share: float | None
    space_groups: int
    top_space_group: int
    top_space_group_share: float | None


@dataclass(frozen=True, slots=True)
class HackingReport:
    """Signs of a hacked reward in a campaign.

    Attributes:
        whole, first, last: all scored crystals, and those of the first and the last quarter of the evaluations.
        validity_first, validity_last: valid share of the samples, means over a quarter of the iterations.
        divergence: of the agent from the prior in the last iteration that learned, as the campaign logs it.
        warnings: sentences for people; empty where nothing is conspicuous.
    """

    whole: Coverage
    first: Coverage
    last: Coverage
    validity_first: float | None
    validity_last: float | None
    divergence: float | None
    warnings: tuple[str, ...]


def hacking_report(run_directory: Path) -> HackingReport:
    """Read the signs off a run directory, finished or not.

    Raises:
        CheckpointError: it holds no campaign, or none that has finished an iteration.
    """
    return judge_record(read_record(run_directory))


def judge_record(record: Record) -> HackingReport:
    """The report of a campaign that was read already."""
    reference, fault = _reference(record.config.screening.reference)
    first, last = record.quarters()
    early, late = coverage(first, reference), coverage(last, reference)
    validity = record.metric_quarters("validity")
    return HackingReport(
        coverage(record.scored, reference),
        early,
        late,
        *validity,
        record.last("divergence"),
        (*conspicuous(record.config.constraints, early, late, *validity), *_failures(record), *fault),
    )


def coverage(evaluated: Sequence[Evaluated], reference: ReferenceSet | None) -> Coverage:
    """What scored crystals are made of; without a reference set nothing is said of sparse systems."""
    contents = [frozenset(crystal.elements) for crystal in evaluated]
    elements = Counter(symbol for content in contents for symbol in content)
    groups = Counter(crystal.space_group for crystal in evaluated if crystal.space_group is not None)
    systems = set(contents)
    top, group = elements.most_common(1), groups.most_common(1)
    return Coverage(
        crystals=len(evaluated),
        hits=count_hits(evaluated),
        hit_systems=hit_systems(evaluated),
        single_element_share=_share(sum(len(content) == 1 for content in contents), len(contents)),
        chemical_systems=len(systems),
        sparse_system_share=None if reference is None else _sparse_share(systems, reference),
        elements=len(elements),
        effective_elements=_effective(elements),
        top_element=top[0][0] if top else "",
        top_element_share=_share(top[0][1] if top else 0, len(contents)),
        space_groups=len(groups),
        top_space_group=group[0][0] if group else 0,
        top_space_group_share=_share(group[0][1] if group else 0, len(contents)),
    )


def _sparse_share(systems: set[frozenset[str]], reference: ReferenceSet) -> float | None:
    """Share of chemical systems of several elements about which the hull knows little."""
    from pymatgen.core import Element

    mixed = [system for system in systems if len(system) > 1]
    present = reference.hull.fractions > 0
    compounds = present[present.sum(axis=1) > 1].astype(np.int16)
    sparse = 0
    for system in mixed:
        outside = np.ones(present.shape[1], dtype=np.int16)
        outside[[Element(symbol).Z for symbol in system]] = 0
        known = int((compounds @ outside == 0).sum())
        sparse += known < math.comb(len(system), 2)
    return _share(sparse, len(mixed))


def _effective(counts: Counter[str]) -> float | None:
    total = sum(counts.values())
    return math.exp(-math.fsum(n / total * math.log(n / total) for n in counts.values())) if total else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _reference(source: str) -> tuple[ReferenceSet | None, tuple[str, ...]]:
    """The campaign's reference set, or why it cannot be read any more."""
    from matinvent.screening.reference import ReferenceSet

    try:
        return ReferenceSet.load(source), ()
    except InputError as error:
        return None, (f"nothing can be said about sparse chemical systems: {error}",)


def conspicuous(
    constraints: ConstraintsConfig,
    early: Coverage,
    late: Coverage,
    valid_first: float | None,
    valid_last: float | None,
) -> list[str]:
    """What is conspicuous in the last quarter, unless it was asked for."""
    if not late.crystals:
        return ["no late crystal has a reward, so that nothing can be said"]
    said = [f"only {late.crystals} late crystals have a reward: shares say little"] if late.crystals < _FEW else []
    if _above(late.single_element_share, _MANY_ELEMENTS):
        said.append(f"{late.single_element_share:.0%} of the late crystals are pure elements")
    if _above(late.sparse_system_share, _MANY_SPARSE):
        said.append(
            f"{late.sparse_system_share:.0%} of the late chemical systems have hardly any known compounds; their "
            "stability means little"
        )
    if late.top_element not in constraints.required and _above(late.top_element_share, _DOMINANT):
        said.append(f"{late.top_element} is in {late.top_element_share:.0%} of the late crystals")
    if not constraints.space_groups and _above(late.top_space_group_share, _DOMINANT):
        said.append(
            f"space group {late.top_space_group} is that of {late.top_space_group_share:.0%} of the late crystals"
            + (_ALLOYS if late.top_space_group == 1 else "")
        )
    if valid_first is not None and valid_last is not None and valid_first - valid_last > _LOST_VALIDITY:
        said.append(f"validity fell from {valid_first:.0%} to {valid_last:.0%}")
    if (
        early.effective_elements is not None
        and late.effective_elements is not None
        and late.effective_elements < _LOST_VARIETY * early.effective_elements
    ):
        said.append(
            f"the variety of elements fell from {early.effective_elements:.0f} to {late.effective_elements:.0f} "
            "effective ones"
        )
    return said


def _failures(record: Record) -> list[str]:
    """That late evaluations failed: of these nobody knows what they would have been worth."""
    failed = _share(sum(crystal.reward is None for crystal in record.late), len(record.late))
    return [f"{failed:.0%} of the late evaluations failed"] if _above(failed, _MANY_FAILED) else []


def _above(share: float | None, limit: float) -> bool:
    return share is not None and share > limit
