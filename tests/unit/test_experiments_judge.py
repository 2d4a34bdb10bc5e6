"""How final agents are judged: by samples that are all screened, unique within their sample."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure
from tests.integration.toy_world import run_toy

from matinvent.candidate import Fate
from matinvent.config_screening import ScreeningConfig
from matinvent.experiments import judge
from matinvent.experiments.catalogue import Judging

KINDS = ("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Al")


class Repetitive:
    """An agent that knows ten crystals and proposes them in turn."""

    def sample(self, n, rng):
        return [Structure(Lattice.cubic(4), [KINDS[i % len(KINDS)]], [[0, 0, 0]]) for i in range(n)]


class ByFormula:
    """A screening for which all is stable and novel, and unique by its formula."""

    def __init__(self, settings, constraints):
        assert settings.exhaustive

    def screen(self, candidates, wanted):
        seen = set()
        for candidate in candidates:
            candidate.fate = Fate.DUPLICATE if candidate.composition in seen else Fate.SURVIVED
            seen.add(candidate.composition)

    def close(self):
        pass


@pytest.fixture
def judged(tmp_path, monkeypatch):
    def of(judging):
        directory = tmp_path / "run"
        run_toy(directory, "iterations=1")
        monkeypatch.setattr(judge, "load_agent", lambda _: Repetitive())
        monkeypatch.setattr(judge, "Screener", ByFormula)
        return judge.judge_agent(directory, judging)

    return of


@pytest.mark.parametrize(("size", "samples", "sun"), [(20, 1, 0.5), (20, 4, 0.5), (80, 1, 0.125)])
def test_more_samples_do_not_make_an_agent_less_unique(judged, monkeypatch, size, samples, sun):
    monkeypatch.setattr(ScreeningConfig, "complete", True)  # as if the toy world knew stability
    assert judged(Judging(size, samples)) == {"size": size, "sampled": size * samples, "validity": 1.0, "sun": sun}


def test_what_was_not_screened_is_not_called_sun(judged):
    assert judged(Judging(10, 1)) == {"size": 10, "sampled": 10, "validity": 1.0}  # the toy world knows no stability


@pytest.mark.parametrize("off", ["enabled", "stability", "uniqueness", "novelty"])
def test_a_screening_is_complete_with_all_of_its_parts(off):
    assert ScreeningConfig().complete
    assert not ScreeningConfig(**{off: False}).complete
