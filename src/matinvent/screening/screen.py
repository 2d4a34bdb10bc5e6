"""The screening of a batch: valid -> relaxed -> stable -> unique -> novel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from matinvent.candidate import Candidate, Fate
from matinvent.config_goals import ConstraintsConfig
from matinvent.errors import Failure
from matinvent.screening.constraints import Constraints
from matinvent.screening.matching import Catalogue, Identity, Matcher
from matinvent.screening.neighbors import Crystal
from matinvent.screening.pooled_relaxer import potential_name
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.relaxation import Relaxation, Relaxer, make_relaxer
from matinvent.screening.stability import IMPLAUSIBLE
from matinvent.screening.validity import check_geometry, check_validity

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config_screening import ScreeningConfig

Progress = Callable[[float], None]

#: Smallest number of crystals relaxed before survivors are counted again.
_SMALLEST_CHUNK = 16


class Screener:
    """Decides which candidates are worth a property evaluation.

    Args:
        config: what is asked of a crystal.
        constraints: what it must be made of and look like; None: anything.
        relaxer: replaces the relaxer that the configuration names (the screener closes it).
        reference: replaces the reference set that the configuration names.

    Raises:
        ConfigError: the potential cannot be loaded, or the reference energies are not its own.
        InputError: the reference set cannot be read.
    """

    def __init__(
        self,
        config: ScreeningConfig,
        constraints: Constraints | None = None,
        *,
        relaxer: Relaxer | None = None,
        reference: ReferenceSet | None = None,
    ) -> None:
        self._config = config
        self._constraints = constraints or Constraints(ConstraintsConfig())
        self.matcher = Matcher.of(config)
        self._seen = Catalogue(self.matcher)
        self._needs_energy = config.enabled and (config.relaxation.enabled or config.stability)
        needs_reference = config.enabled and (config.stability or config.novelty)
        self._reference = (reference or ReferenceSet.load(config.reference)) if needs_reference else None
        if self._reference is not None and config.stability:
            potential = relaxer.potential if relaxer else potential_name(config.relaxation)
            self._reference.require_scale(potential, config.reference, hint="or set screening.stability: false")
        self._relaxer = relaxer
        if self._relaxer is None and self._needs_energy:
            self._relaxer = make_relaxer(config.relaxation, config.workers)

    def screen(
        self,
        candidates: Sequence[Candidate],
        wanted: int,
        progress: Progress | None = None,
        *,
        reserve: Sequence[Candidate] = (),
        fewest: int = 0,
    ) -> list[Candidate]:
        """Give candidates their fates and return the survivors, in the given order.

        Validity and constraints are checked for all. The rest of the screening goes through the valid ones in order,
        a chunk at a time, and stops once ``wanted`` survivors are found (unless ``exhaustive``);
        whoever was not reached keeps the fate ``GENERATED``. The last chunk may yield more
        survivors than wanted. Uniqueness is within this call, or within all calls (``unique_within: campaign``). With
        ``skip_twins`` a crystal is not relaxed if it equals, as it is drawn, a stable one found before; of crystals
        alike in one chunk the first goes ahead, and the others wait for what becomes of it.

        Args:
            candidates: crystals to screen; those whose fate is not ``GENERATED`` are left alone.
            wanted: survivors needed.
            progress: called with the finished share in (0, 1].
            reserve: crystals of which less is expected, screened after the others while there are too few survivors.
            fewest: survivors below which the reserve is screened.
        """
        waiting, behind = self._admitted(candidates), self._admitted(reserve)
        if not self._config.enabled:
            survivors = [_survive(candidate) for candidate in (*waiting, *behind)]
        else:
            seen = Catalogue(self.matcher) if self._config.unique_within == "batch" else self._seen
            total = len(waiting) + len(behind)
            first, second = _part(progress, 0, len(waiting), total), _part(progress, len(waiting), len(behind), total)
            survivors = self._search(waiting, wanted, seen, first)
            survivors += self._search(behind, fewest - len(survivors), seen, second)
            _tell_why_not(waiting, "enough survivors")
            _tell_why_not(behind, "too little is expected of it")
        if progress is not None:
            progress(1.0)
        return survivors

    def _admitted(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that are valid and that the constraints admit."""
        return [candidate for candidate in candidates if self._is_valid(candidate) and self._is_wanted(candidate)]

    def recall(self, candidates: Iterable[Candidate]) -> None:
        """Remember, if the campaign does, stable crystals that were screened elsewhere: evaluated or known ones."""
        remembers = self._config.enabled and self._config.uniqueness and self._config.unique_within == "campaign"
        for candidate in candidates if remembers else ():
            assert candidate.final is not None
            identity = self.matcher.identify(candidate.final)
            if isinstance(identity, Identity):
                self._seen.find_or_add(identity, candidate.label)

    def forget(self, candidates: Iterable[Candidate]) -> None:
        """Forget crystals that were not evaluated in the end, so that they can be when they are proposed again."""
        self._seen.remove({candidate.label for candidate in candidates})

    def state_dict(self) -> dict[str, Any]:
        """The crystals remembered from earlier calls, as JSON values."""
        return self._seen.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._seen.load_state_dict(state)

    def close(self) -> None:
        """Stop the relaxation processes."""
        if self._relaxer is not None:
            self._relaxer.close()

    def _search(
        self, waiting: list[Candidate], wanted: int, seen: Catalogue, progress: Progress | None
    ) -> list[Candidate]:
        """Screen chunk after chunk until there are enough survivors."""
        survivors: list[Candidate] = []
        queue = deque(waiting)
        while queue and (self._config.exhaustive or len(survivors) < wanted):
            missing = len(waiting) if self._config.exhaustive else wanted - len(survivors)
            chunk = self._next_chunk(queue, max(_SMALLEST_CHUNK, 2 * missing), seen)
            done = len(waiting) - len(queue) - len(chunk)
            relaxed = self._relax(chunk, _part(progress, done, len(chunk), len(waiting)))
            survivors += [_survive(candidate) for candidate in relaxed if self._passes(candidate, seen)]
        return survivors

    def _next_chunk(self, queue: deque[Candidate], size: int, seen: Catalogue) -> list[Candidate]:
        """Take the next crystals to be relaxed out of the queue; twins of stable ones get their fate instead."""
        skip = self._config.skip_twins and self._config.uniqueness and not self._config.exhaustive
        chunk: list[Candidate] = []
        postponed: list[Candidate] = []
        chosen = Catalogue(self.matcher)
        while queue and len(chunk) < size:
            candidate = queue.popleft()
            assert candidate.structure is not None
            identity = self.matcher.identify(candidate.structure) if skip else None
            if not isinstance(identity, Identity):
                chunk.append(candidate)
            elif (twin := seen.find(identity)) is not None:
                _reject_twin(candidate, twin)
            elif chosen.find_or_add(identity, candidate.label) is not None:
                postponed.append(candidate)
            else:
                chunk.append(candidate)
        queue.extendleft(reversed(postponed))
        return chunk

    def _is_valid(self, candidate: Candidate) -> bool:
        if candidate.fate is not Fate.GENERATED or candidate.structure is None:
            return False
        failure = check_validity(candidate.structure, self._config.validity)
        if failure is not None:
            candidate.reject(Fate.INVALID, str(failure))
        return failure is None

    def _is_wanted(self, candidate: Candidate) -> bool:
        assert candidate.structure is not None
        failure = self._constraints.check(candidate.structure)
        if failure is not None:
            candidate.reject(Fate.EXCLUDED, str(failure))
        return failure is None

    def _relax(self, chunk: list[Candidate], progress: Progress | None) -> list[Candidate]:
        """Fill in energies and relaxed crystals; returns the candidates that came through."""
        if not self._needs_energy or self._relaxer is None:
            return chunk
        structures = [candidate.structure for candidate in chunk if candidate.structure is not None]
        outcomes = self._relaxer.relax(structures, progress, ceilings=self._ceilings(structures))
        return [
            candidate
            for candidate, outcome in zip(chunk, outcomes, strict=True)
            if self._accept_relaxation(candidate, outcome)
        ]

    def _ceilings(self, structures: Sequence[Structure]) -> list[float | None] | None:
        """Energies (eV/atom) that the crystals must come below to be stable; None where none is asked or known."""
        if not (self._config.stability and self._config.relaxation.give_up) or self._reference is None:
            return None
        floors = [self._reference.hull.hull_energy(structure.composition) for structure in structures]
        return [None if isinstance(floor, Failure) else floor + self._config.max_e_above_hull for floor in floors]

    def _accept_relaxation(self, candidate: Candidate, outcome: Relaxation | Failure) -> bool:
        if isinstance(outcome, Failure):
            candidate.reject(Fate.RELAX_FAILED, str(outcome))
            return False
        candidate.energy_per_atom = outcome.energy_per_atom
        if not self._config.relaxation.enabled:
            return True
        candidate.relaxed = outcome.structure
        candidate.rmsd = outcome.rmsd
        candidate.relax_steps = outcome.steps
        candidate.converged = outcome.converged
        candidate.given_up = outcome.given_up
        defect = check_geometry(Crystal.from_structure(outcome.structure), self._config.validity)
        if defect is not None:
            candidate.reject(Fate.RELAX_FAILED, f"after relaxation: {defect}")
            return False
        changed = self._constraints.check_symmetry(outcome.structure)
        if changed is not None:
            candidate.reject(Fate.EXCLUDED, f"after relaxation: {changed}")
        return changed is None

    def _passes(self, candidate: Candidate, seen: Catalogue) -> bool:
        """Whether a relaxed crystal is stable, unique and novel."""
        return self._is_stable(candidate) and self._is_new(candidate, seen)

    def _is_stable(self, candidate: Candidate) -> bool:
        if not self._config.stability or self._reference is None:
            return True
        assert candidate.final is not None
        assert candidate.energy_per_atom is not None
        result = self._reference.hull.energy_above_hull(candidate.final.composition, candidate.energy_per_atom)
        if isinstance(result, Failure):
            candidate.reject(Fate.UNSTABLE, str(result))
            return False
        candidate.e_above_hull = result.e_above_hull
        candidate.decomposition = " + ".join(f"{share:.2f} {phase}" for phase, share in result.decomposition.items())
        if result.e_above_hull < IMPLAUSIBLE:
            reason = f"implausible energy, {result.e_above_hull:.2f} eV/atom above the hull"
            candidate.reject(Fate.RELAX_FAILED, reason)
            return False
        if result.e_above_hull >= self._config.max_e_above_hull:
            stage = "relaxation given up " if candidate.given_up else ""
            candidate.reject(Fate.UNSTABLE, f"{stage}{result.e_above_hull:.3f} eV/atom above {candidate.decomposition}")
            return False
        return True

    def _is_new(self, candidate: Candidate, seen: Catalogue) -> bool:
        """Unlike every earlier stable crystal of the batch, and unlike every known one."""
        if not (self._config.uniqueness or self._config.novelty):
            return True
        assert candidate.final is not None
        identity = self.matcher.identify(candidate.final)
        if isinstance(identity, Failure):
            candidate.reject(Fate.INVALID, str(identity))
            return False
        if self._config.uniqueness:
            twin = seen.find_or_add(identity, candidate.label)
            if twin is not None:
                _reject_twin(candidate, twin)
                return False
        known = self._reference.match(identity, self.matcher) if self._config.novelty and self._reference else None
        if known is not None:
            candidate.twin = known
            candidate.reject(Fate.KNOWN, f"same crystal as {known}")
        return known is None


def _survive(candidate: Candidate) -> Candidate:
    candidate.fate = Fate.SURVIVED
    candidate.reason = ""
    return candidate


def _tell_why_not(candidates: Iterable[Candidate], reason: str) -> None:
    """The reason of those whose turn did not come."""
    for candidate in candidates:
        if candidate.fate is Fate.GENERATED:
            candidate.reason = f"not screened: {reason}"


def _reject_twin(candidate: Candidate, twin: str) -> None:
    candidate.twin = twin
    candidate.reject(Fate.DUPLICATE, f"same crystal as {twin}")


def _part(progress: Progress | None, done: int, size: int, total: int) -> Progress | None:
    """Progress of a chunk as progress of the whole."""
    if progress is None:
        return None
    return lambda share: progress((done + share * size) / total)
