"""External programs: their protocol, and everything that they can do wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.config import EvaluationConfig
from matinvent.errors import ConfigError, Failure
from matinvent.properties.external import Program
from matinvent.properties.registry import create, declared
from matinvent.properties.service import PropertyService
from matinvent.testing import check_evaluator

#: Does what the element asks for; anything else has the cell edge as its stiffness.
UNRULY = """
import os, sys, time
from matinvent_program import serve

def stiffness(structure):
    element = structure["species"][0]
    if element == "Fe":
        os._exit(3)
    if element == "Co":
        print("out of cobalt", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 11)
    if element == "Ni":
        time.sleep(60)
    if element == "Cu":
        raise ValueError("no copper")
    if element == "Zn":
        return float("nan")
    if element == "Ga":
        return -5.0
    if element == "Ge":
        return None
    if element == "As":
        return "stiff"
    if element == "Se":
        print("chatter " * 50_000, flush=True)
    if element == "Br":
        sys.stderr.write("x" * 3_000_000)
    if element == "Kr":
        return 10 ** 400
    return structure["lattice"][0][0]

serve(stiffness, {"name": "stiffness", "unit": "GPa", "bounds": [0, 1000]})
"""

GREETING = '{"matinvent": 1, "version": "1", "properties": [{"name": "edge", "unit": "A"}]}'


def crystal(symbol: str, edge: float = 4.0) -> Structure:
    return Structure(Lattice.cubic(edge), [symbol], [[0, 0, 0]])


@pytest.fixture
def write(tmp_path):
    """Write a Python program; the command that runs it."""

    def written(source: str, name: str = "program.py") -> list[str]:
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return [sys.executable, str(path)]

    return written


@pytest.fixture
def start(write):
    """Start programs that are ended with the test."""
    started: list[Program] = []

    def program(source: str = UNRULY, **settings) -> Program:
        started.append(Program(write(source), **settings))
        return started[-1]

    yield program
    for each in started:
        each.close()


def raw(body: str) -> str:
    """A program without the helper: greets, then does as the body says for each line."""
    return (
        f"import json, os, sys, time\nprint('''{GREETING}''', flush=True)\nfor line in sys.stdin:\n"
        + textwrap.indent("question = json.loads(line)\nnumber = question['id']\n" + textwrap.dedent(body), "    ")
    )


def kinds(program: Program, *symbols: str) -> list[object]:
    (name,) = (info.name for info in program.properties)
    results = program.evaluate([crystal(symbol) for symbol in symbols])
    return [result.kind if isinstance(result, Failure) else result[name] for result in results]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path(f"/proc/{pid}").exists() else False


def gone_within(seconds: float, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_a_program_keeps_the_contract_of_evaluators(start):
    check_evaluator(start(), [crystal("Si", 3.0), crystal("Na", 5.0), crystal("K")], invariances=())


def test_a_program_declares_itself(start):
    program = start()
    (info,) = program.properties
    assert (info.name, info.unit, info.bounds, info.needs) == ("stiffness", "GPa", (0.0, 1000.0), ("program",))
    assert len(program.version) == 16, "the digest of the script"


def test_an_edited_program_is_another_version(start):
    assert start().version != start(UNRULY + "\n# edited\n").version


@pytest.mark.parametrize(
    ("symbol", "kind", "reason"),
    [
        ("Fe", "program-died", "code 3"),
        ("Co", "program-died", "SIGSEGV; it said: out of cobalt"),
        ("Ni", "timeout", "within 1 s"),
        ("Cu", "failed", "ValueError: no copper"),
        ("Zn", "not-finite", "nan"),
        ("Ga", "out-of-bounds", "-5 GPa"),
        ("Ge", "missing-property", "stiffness"),
        ("As", "not-a-number", "str"),
        ("Kr", "not-finite", "stiffness"),
    ],
)
def test_a_fault_costs_one_crystal_and_is_named(start, symbol, kind, reason):
    program = start(timeout=1)
    results = program.evaluate([crystal("Si", 3.0), crystal(symbol), crystal("Si", 5.0)])
    assert results[0] == {"stiffness": 3.0}
    assert results[1].kind == kind
    assert reason in results[1].reason
    assert results[2] == {"stiffness": 5.0}


@pytest.mark.parametrize("symbol", ["Se", "Br"])
def test_chatter_neither_stops_nor_confuses(start, symbol):
    assert kinds(start(timeout=20), symbol, "Si") == [4.0, 4.0]


def test_a_crystal_without_whole_atoms_is_not_even_asked_for(start):
    disordered = Structure(Lattice.cubic(4), [{"Cu": 0.5, "Fe": 0.5}], [[0, 0, 0]])
    (result,) = start().evaluate([disordered])
    assert result.kind == "disordered"


def test_a_large_crystal_passes_through_the_pipes(start):
    """Larger than a pipe's buffer, for a program that does not read for a while."""
    program = start(raw("time.sleep(0.2)\nprint(json.dumps({'id': number, 'values': {'edge': 1.0}}), flush=True)"))
    large = crystal("Si") * (12, 12, 12)
    assert program.evaluate([large, large]) == [{"edge": 1.0}] * 2


def test_it_is_given_up_after_failing_too_often_in_a_row(start):
    program = start(restarts=1)
    assert kinds(program, "Fe", "Si", "Fe", "Fe", "Si") == ["program-died", 4.0, *["program-died"] * 3]
    (result,) = program.evaluate([crystal("Si")])
    assert "given up after 2 failures in a row" in result.reason
    assert "code 3" in result.reason


@pytest.mark.parametrize(
    "answer",
    [
        "'Loading model...'",
        "'[1, 2]'",
        "'null'",
        "'[' * 100_000",
        "json.dumps({'values': {'edge': 1.0}})",
        "json.dumps({'id': number + 7, 'values': {'edge': 1.0}})",
        "json.dumps({'id': number, 'value': 1.0})",
        "json.dumps({'id': number, 'values': [1.0]})",
        "'y' * 3_000_000",
        "'\\xff\\x00'",
    ],
)
def test_what_is_no_answer_is_said_to_be_none(start, answer):
    program = start(raw(f"print({answer}, flush=True)"), timeout=10)
    (result,) = program.evaluate([crystal("Si")])
    assert result.kind == "bad-answer"
    assert len(result.reason) < 300


def test_after_garbage_answers_and_questions_find_each_other_again(start):
    body = """
        if number == 1:
            print("Loading model...", flush=True)
        print(json.dumps({"id": number, "values": {"edge": number}}), flush=True)
    """
    assert kinds(start(raw(body)), "Si", "Si", "Si") == ["bad-answer", 2.0, 3.0]


def test_a_flood_of_old_answers_is_a_timeout(start):
    body = "while True:\n    print(json.dumps({'id': 0, 'values': {'edge': 1.0}}), flush=True)"
    assert kinds(start(raw(body), timeout=0.5), "Si") == ["timeout"]


def test_a_program_that_ends_after_each_answer_is_started_again(start):
    body = "print(json.dumps({'id': number, 'values': {'edge': 1.0}}), flush=True)\nsys.stdout.close()\nos._exit(0)"
    program = start(raw(body))
    for _ in range(3):
        assert program.evaluate([crystal("Si")]) == [{"edge": 1.0}]
        time.sleep(0.1)


def test_a_program_that_changes_its_mind_is_not_mixed_with_itself(start, tmp_path):
    program = start()
    path = tmp_path / "program.py"
    path.write_text(path.read_text() + "# edited\n")
    assert kinds(program, "Si", "Fe", "Si") == [4.0, "program-died", "program-changed"]


def test_some_properties_of_a_crystal_may_be_missing(start):
    source = """
        from matinvent_program import serve
        serve(lambda s: {"a": 1.0} if s["species"] == ["H"] else {"a": 1.0, "b": 2.0},
              {"name": "a", "unit": "A", "uncertainty": "b"}, {"name": "b", "unit": "A", "bounds": [0, None]})
    """
    full, partial = start(source).evaluate([crystal("Si"), crystal("H")])
    assert full == {"a": 1.0, "b": 2.0}
    assert partial["a"] == 1.0
    assert partial["b"].kind == "missing-property"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit('no license')", "code 1; it said: no license"),
        ("print('hello')", "greets with 'hello'"),
        ("print('{}')", "greets with '{}'"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
        ("print('{\"matinvent\": 1}')", "declares no properties"),
        ('print(\'{"matinvent": 1, "properties": [{"name": "x"}]}\')', "needs name and unit"),
        ('print(\'{"matinvent": 1, "properties": [{"name": "x y", "unit": "1"}]}\')', "letters"),
        ('print(\'{"matinvent": 1, "properties": [{"name": "x", "unit": "1"}]}\')', "no 'version'"),
        ("from matinvent_program import refuse; refuse('the license is in use')", "the license is in use"),
    ],
)
def test_a_program_that_cannot_start_is_refused_with_the_reason(write, source, message):
    with pytest.raises(ConfigError) as error:
        Program(write(source), startup_timeout=1)
    assert message in str(error.value)
    assert "program.py" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"command": ["/no/such/python", "x.py"]}, "command not found: /no/such/python"),
        ({"command": "no-such-program --fast"}, "command not found: no-such-program"),
        ({"command": []}, "list of words"),
        ({"command": [sys.executable, 3]}, "list of words"),
        ({"command": sys.executable, "cwd": "/no/such/folder"}, "no working directory /no/such/folder"),
        ({"command": sys.executable, "timeout": -1}, "timeout must be a positive"),
    ],
)
def test_faulty_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        create("program:stiffness", settings)


def test_properties_are_asked_for_by_name(write):
    command = write(UNRULY)
    evaluator = create("program:stiffness", {"command": command})
    assert declared("program:stiffness", evaluator).unit == "GPa"
    with pytest.raises(ConfigError, match="computes stiffness instead"):
        create("program:hardness", {"command": command})


def test_the_environment_of_the_program_can_be_set(start, tmp_path):
    source = """
        import os
        from matinvent_program import serve
        serve(lambda s: float(os.environ["ANSWER"]) + len(os.listdir()), {"name": "x", "unit": "1"})
    """
    (tmp_path / "empty").mkdir()
    assert kinds(start(source, env={"ANSWER": "42"}, cwd=str(tmp_path / "empty")), "Si") == [42.0]


def test_what_a_program_starts_neither_reads_questions_nor_outlives_it(start):
    source = """
        import subprocess
        from matinvent_program import serve
        def pid(structure):
            subprocess.run(["cat"])  # would read the next question
            return subprocess.Popen(["sleep", "60"]).pid
        serve(pid, {"name": "pid", "unit": "1"})
    """
    program = start(source)
    pids = [int(result["pid"]) for result in program.evaluate([crystal("Si")] * 2)]
    assert all(map(alive, pids))
    program.close()
    assert all(gone_within(5, pid) for pid in pids)


def test_threads_take_turns(start):
    program = start()
    results: dict[int, object] = {}

    def ask(edge: int) -> None:
        results[edge] = program.evaluate([crystal("Si", edge)] * 20)

    threads = [threading.Thread(target=ask, args=(edge,)) for edge in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {edge: [{"stiffness": float(edge)}] * 20 for edge in range(2, 6)}


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_campaigns_use_programs(write, executor):
    requests = [("program:stiffness", {"command": write(UNRULY), "timeout": 5}), ("density", {})]
    service = PropertyService(requests, EvaluationConfig(executor=executor, workers=2), None)
    rows = service.evaluate_each([crystal("Si"), crystal("Fe"), crystal("Na", 5.0)])
    service.close()
    assert [rows[0]["program:stiffness"], rows[2]["program:stiffness"]] == [4.0, 5.0]
    assert rows[1]["program:stiffness"].kind == "program-died"
    assert rows[1]["density"] == pytest.approx(1.449, abs=0.001), "one property's failure leaves the others"


HOST = """
import os, sys, time
from pymatgen.core import Lattice, Structure
from matinvent.properties.external import Program

program = Program(sys.argv[2:])
(result,) = program.evaluate([Structure(Lattice.cubic(4), ["Si"], [[0, 0, 0]])])
print(int(result["pid"]), flush=True)
if sys.argv[1] == "wait":
    program.evaluate([Structure(Lattice.cubic(4), ["Ge"], [[0, 0, 0]])])
"""

HANGING = """
import os, signal, time
from matinvent_program import serve

def pid(structure):
    if structure["species"] == ["Ge"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    return os.getpid()

serve(pid, {"name": "pid", "unit": "1"})
"""


@pytest.mark.parametrize("end", ["wait", "leave"])
def test_a_hanging_program_ends_with_its_parent_even_if_that_is_killed(write, end):
    host = [*write(HOST, "host.py"), end, *write(HANGING)]
    with subprocess.Popen(host, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        if end == "wait":
            time.sleep(0.3)
            assert alive(pid)
            parent.send_signal(signal.SIGKILL)
        parent.wait(timeout=20)
        assert gone_within(5, pid)
