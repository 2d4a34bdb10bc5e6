"""``matinvent inspect``: signs of a hacked reward are said; where there is no campaign, an error of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.made_up_run import make_run

from matinvent.cli import main
from matinvent.cli.inspection import verdict
from matinvent.experiments.hacking import hacking_report


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
