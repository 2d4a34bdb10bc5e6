"""``matinvent inspect``: signs of a hacked reward are said; where there is no campaign, an error of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.made_up_run import make_run

from matinvent.cli import main
from matinvent.cli.inspection import verdict
from matinvent.config_goals import ConstraintsConfig
from matinvent.experiments.hacking import conspicuous, hacking_report


def invoke(*arguments: object) -> int:
    try:
        main(["inspect", *map(str, arguments)])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    return make_run(tmp_path / "run")


def test_what_is_conspicuous_is_said(run, capsys):
    assert invoke(run) == 0
    shown = capsys.readouterr().out
    assert "100% of the late crystals are pure elements" in " ".join(shown.split())
    for line in ("pure elements", "of these hardly known", "most frequent element", "valid samples", "divergence"):
        assert line in shown


def test_a_sober_campaign_is_told_so(run):
    assert verdict(replace(hacking_report(run), warnings=())) == "No signs of a hacked reward."


def test_a_folder_without_campaign(tmp_path, capsys):
    assert invoke(tmp_path / "nothing") == 2
    assert "not a run directory" in capsys.readouterr().err


def test_of_few_crystals_shares_say_little(run):
    report = hacking_report(run)
    assert report.warnings[0] == "only 2 late crystals have a reward: shares say little"
    none = conspicuous(ConstraintsConfig(), report.first, replace(report.last, crystals=0), 1.0, 0.5)
    assert none == ["no late crystal has a reward, so that nothing can be said"]


def test_what_was_asked_for_is_not_held_against_a_campaign(run):
    report = hacking_report(run)
    late = replace(report.last, crystals=50, top_element="Fe", top_element_share=1.0, top_space_group=225,
                   top_space_group_share=1.0, single_element_share=0.0, sparse_system_share=0.0,
                   effective_elements=report.first.effective_elements)  # fmt: skip
    assert len(conspicuous(ConstraintsConfig(), report.first, late, 1.0, 1.0)) == 2
    asked = ConstraintsConfig(required=("Fe",), space_groups=(225,))
    assert conspicuous(asked, report.first, late, 1.0, 1.0) == []
