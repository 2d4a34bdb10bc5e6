"""The command line answers at once and teaches."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from matinvent.cli import main

COMMANDS = (
    "run", "resume", "generate", "evaluate", "properties", "predictor", "front", "inspect", "experiment", "tasks",
    "priors", "schema", "doctor", "pretrain", "reference",
)  # fmt: skip


def invoke(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code or 0


def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from matinvent.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pymatgen', 'ase', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    times = []
    for _ in range(3):  # CPU time, the least of three: wall time would measure the machine's other processes too
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 1.0


def test_help_names_every_command_and_shows_a_campaign(capsys):
    assert invoke("--help") == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert "matinvent run density --preset quick" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command):
    assert invoke(command, "--help") == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "resume", "generate", "evaluate", "properties", "pretrain"])
def test_commands_show_examples(capsys, command):
    invoke(command, "--help")
    assert f"$ matinvent {command}" in capsys.readouterr().out


def test_version(capsys):
    import matinvent

    assert invoke("--version") == 0
    assert capsys.readouterr().out == f"matinvent {matinvent.__version__}\n"


def test_tasks_are_listed(capsys):
    assert invoke("tasks") == 0
    text = capsys.readouterr().out
    assert "density" in text
    assert "quick" in text


def test_the_schema_is_json(capsys):
    import json

    assert invoke("schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "CampaignConfig"


def test_python_dash_m_works():
    done = subprocess.run(
        [sys.executable, "-m", "matinvent", "--version"], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("matinvent ")
