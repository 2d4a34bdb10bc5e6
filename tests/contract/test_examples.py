"""The examples keep the promises that the documentation makes for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.properties.registry import create
from matinvent.tasks import load_task
from matinvent.testing.evaluators import check_evaluator

EXAMPLES = Path(__file__).parents[2] / "examples"
CRYSTALS = [Structure(Lattice.cubic(a), ["Fe"], [[0, 0, 0]]) for a in (2.8, 3.0, 3.2)]


def test_own_property(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    config = load_task(str(EXAMPLES / "own_property.yaml"), "quick")
    evaluator = create(config.objectives[0].property, config.objectives[0].params)
    check_evaluator(evaluator, CRYSTALS)
    (first, *_) = evaluator.evaluate(CRYSTALS)
    assert first["volume_per_atom"] == pytest.approx(2.8**3)


def test_the_campaigns_of_the_goals_page_are_campaigns(tmp_path):
    text = (EXAMPLES.parent / "docs" / "goals.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block if "base:" in block else f"base: density\n{block}", encoding="utf-8")
        config = load_task(str(path))
        assert config.objectives
    assert len(blocks) >= 4
