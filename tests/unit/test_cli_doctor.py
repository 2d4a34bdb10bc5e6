"""The doctor reports every fault it meets and dies of none."""

from __future__ import annotations

import pytest

from matinvent.cli import doctor, main


def examine(monkeypatch, *examinations) -> int:
    monkeypatch.setattr(doctor, "_EXAMINATIONS", examinations)
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as left:
        main(["doctor"])
    return left.value.code or 0


def test_the_machine_and_packages_are_well(monkeypatch, capsys):
    assert examine(monkeypatch, doctor._python, doctor._packages) == 0
    text = capsys.readouterr().out
    assert "FIX" not in text
    assert "chgnet" in text


def test_a_fault_is_named_with_its_fix_and_sets_the_status(monkeypatch, capsys):
    def _reference_set():
        raise FileNotFoundError("reference_mp.npz [x]")

    assert examine(monkeypatch, _reference_set, doctor._python) == 1
    text = capsys.readouterr().out
    assert "FIX" in text
    assert "reference set" in text
    assert "FileNotFoundError: reference_mp.npz [x]" in text
    assert "pip install" in text
    assert "Python" in text  # the examination after it was still made


def test_a_missing_package_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_DEPENDENCIES", ("numpy", "no-such-package"))
    assert examine(monkeypatch, doctor._packages) == 1
    assert "pip install no-such-package" in capsys.readouterr().out


def test_the_potential_loads_without_printing(capsys):
    (check,) = doctor._potential()
    assert check.well
    assert "CHGNet 0.3.0" in check.found
    assert capsys.readouterr().out == ""
