"""``matinvent properties`` on a narrow terminal and with slips of the user."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from rich.console import Console

from matinvent.cli import main, property_tables
from matinvent.cli import properties as command
from matinvent.errors import ConfigError, Failure
from matinvent.properties.evaluator import PropertyInfo
from matinvent.properties.interface import CoincidentArea
from matinvent.properties.registry import describe
from matinvent.properties.thermal import HeatCapacity

COPPER = Structure(Lattice([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]), ["Cu"], [[0, 0, 0]])


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to a terminal of 80 columns."""
    written = io.StringIO()
    monkeypatch.setattr(property_tables, "console", lambda: Console(file=written, width=80))
    return written


@pytest.fixture
def copper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    COPPER.to(filename="copper.cif")
    return Path("copper.cif")


def invoke(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def test_the_list_shows_whole_names(narrow: io.StringIO) -> None:
    property_tables.show_catalogue()
    words = narrow.getvalue().replace("│", " ").split()
    assert {info.name for info in describe()} <= set(words)


def test_a_number_is_never_cut_short(narrow: io.StringIO) -> None:
    infos = {f"p{i}": PropertyInfo(f"p{i}", "1", "", (0, 1e9), "instant", "") for i in range(14)}
    property_tables.show_results(["a.cif"], [COPPER], infos, [dict.fromkeys(infos, 123456.0)])
    assert "…" not in narrow.getvalue()


def test_a_functions_structure_is_no_parameter(
    narrow: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def scaled(crystal, factor=2):\n    return factor * len(crystal)\n")
    property_tables.show_details("mine.py:scaled")
    (line,) = [line for line in narrow.getvalue().splitlines() if line.startswith("parameters")]
    assert line.split(maxsplit=1)[1].strip() == "factor = 2"


def test_an_output_that_cannot_be_written_is_refused_before_computing(
    copper: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_service", lambda *_: pytest.fail("computed first"))
    assert invoke("properties", copper, "-p", "density", "-o", "nowhere/out.csv") == 2
    assert "no folder nowhere" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    assert invoke("properties", copper, "-p", "density", "-o", "out.csv") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_advice_names_properties_without_their_uncertainties(capsys: pytest.CaptureFixture[str]) -> None:
    declared = {"gap_uncertainty": "", "gap": "gap_uncertainty"}
    command._advise_relaxing(
        {
            name: PropertyInfo(name, "eV", "", (0, 1), "instant", "", ("relaxed structure",), spread)
            for name, spread in declared.items()
        }
    )
    assert capsys.readouterr().err.startswith("gap: meant")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1000.0), ("-2E-2", -0.02), ("300", 300), ("hot", "hot"), ("[1, 1, 0]", [1, 1, 0]), ("'1e3'", "1e3")],
)
def test_parameters_are_read_as_they_are_written(text: str, value: object) -> None:
    ((_, params),) = command._requests(["p"], [f"p.key={text}"])
    assert params == {"key": value}
    assert type(params["key"]) is type(value)


@pytest.mark.parametrize("wrong", [True, "hot", None, [300], -5, 0, float("nan")])
def test_what_is_no_temperature_is_named(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"temperature is .*; give a positive number"):
        HeatCapacity(temperature=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_area": "big"}, "max_area 'big': give an area"),
        ({"max_area": True}, "max_area True: give an area"),
        ({"plane": 3}, "plane 3: give three whole Miller indices"),
        ({"film_plane": 3}, "plane 3: give three whole Miller indices"),
        ({"substrate": 3}, "substrate 3: give a name"),
    ],
)
def test_what_is_no_substrate_is_named(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CoincidentArea(**params)  # type: ignore[arg-type]


def test_a_failure_is_shown_by_its_kind(narrow: io.StringIO) -> None:
    infos = {"p": PropertyInfo("p", "1", "", (0, 1), "instant", "")}
    property_tables.show_results(["a.cif"], [COPPER], infos, [{"p": Failure("dire", "it broke")}])
    assert "dire: it broke" in narrow.getvalue()
