"""Properties that a program of the user's computes, in its own environment and any language.

The program speaks JSON lines. It first writes a greeting,

    {"matinvent": 1, "version": "1", "properties": [{"name": "stiffness", "unit": "GPa", "bounds": [0, 1000]}]}

then reads one line per crystal and answers each with values or with why there are none:

    {"id": 1, "structure": {"lattice": [[...], [...], [...]], "species": ["Na", "Cl"], "frac_coords": [[...], [...]]}}
    {"id": 1, "values": {"stiffness": 24.0}}
    {"id": 1, "failure": "no convergence"}

and ends when its input does. For Python programs, programs/matinvent_program.py does all this.
"""

from __future__ import annotations

import math
import os
import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from matinvent.errors import ConfigError, Failure
from matinvent.properties.conversation import Conversation, ConversationError
from matinvent.properties.evaluator import Cost, PropertyInfo, Values, plausible, structure_defect

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Folder with what Python programs may import.
PROGRAMS = Path(__file__).with_name("programs")

#: A reason given by a program is cut to this many characters.
_MAX_REASON = 500


class Program:
    """An evaluator that asks an external program, which is started once and asked for one crystal after the other.

    A program that does not answer in time is killed with all that it started, and started again for the next crystal;
    so is one that ended. When it has failed ``restarts`` + 1 times without any answer in between it is given up, and
    all further crystals are failures. It ends with MatInvent, however that ends.

    Args:
        command: the program and its arguments, as a list or as in a shell (without its expansions).
        timeout: seconds for one crystal.
        startup_timeout: seconds until the greeting.
        restarts: how often in a row it is started again.
        env: environment variables to add.
        cwd: its working directory; None for that of MatInvent.

    Raises:
        ConfigError: the program cannot be started, ends or keeps silent, or its greeting is not as it should be.
    """

    def __init__(
        self,
        command: Sequence[str] | str,
        timeout: float = 600.0,
        startup_timeout: float = 120.0,
        restarts: int = 3,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> None:
        self._command = _read_command(command)
        self._timeout = _positive("timeout", timeout)
        self._startup_timeout = _positive("startup_timeout", startup_timeout)
        self._restarts = restarts
        self._environment = {**os.environ, **(env or {})}
        paths = [str(PROGRAMS), self._environment.get("PYTHONPATH", "")]
        self._environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._cwd = cwd
        self.params: Mapping[str, Any] = {"command": list(self._command), "env": dict(env or {}), "cwd": cwd}
        self._lock = threading.Lock()
        self._asked = 0
        self._failed_in_a_row = 0
        self._last_failure = Failure("program-died", "")
        try:
            self._conversation: Conversation | None = self._start()
        except ConversationError as error:
            raise ConfigError(f"program '{self._title}': {error}") from None
        self._greeting = self._conversation.greeting
        self.properties = _read_properties(self._greeting, self._title)
        self.version = _read_version(self._greeting, self._title)

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """What the program answers for each structure.

        Failure kinds: ``disordered`` and such, ``failed`` (the program says why), ``timeout``, ``program-died``,
        ``program-changed`` (started again, it greets in another way), ``bad-answer`` (no JSON, or none to the
        question), and those of values that are no finite number within the bounds.
        """
        return [structure_defect(structure) or self._evaluate(structure) for structure in structures]

    def close(self) -> None:
        """End the program; it is started again if it is asked again."""
        with self._lock:
            self._hang_up()

    @property
    def _title(self) -> str:
        return shlex.join(self._command)

    def _evaluate(self, structure: Structure) -> Values | Failure:
        with self._lock:
            answer = self._ask(_plain(structure))
        return answer if isinstance(answer, Failure) else self._read_answer(answer)

    def _ask(self, structure: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
        """The program's answer, and its restart where it needs one."""
        if self._failed_in_a_row > self._restarts:
            last = self._last_failure
            return Failure(
                last.kind, f"given up after {self._failed_in_a_row} failures in a row, the last: {last.reason}"
            )
        self._asked += 1
        try:
            answer = self._connected().ask(self._asked, structure, self._timeout)
        except ConversationError as error:
            self._failed_in_a_row += 1
            self._last_failure = Failure(error.kind, str(error))
            if error.over or self._failed_in_a_row > self._restarts:
                self._hang_up()
            return self._last_failure
        self._failed_in_a_row = 0
        return answer

    def _connected(self) -> Conversation:
        """The program at work, started again if it has ended."""
        if self._conversation is None or not self._conversation.alive():
            self._hang_up()
            self._conversation = self._start()
        if self._conversation.greeting != self._greeting:
            raise ConversationError("program-changed", "started again, it declares itself in another way")
        return self._conversation

    def _start(self) -> Conversation:
        return Conversation(self._command, self._environment, self._cwd, self._startup_timeout)

    def _hang_up(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    def _read_answer(self, answer: Mapping[str, Any]) -> Values | Failure:
        """Values of the declared properties, those that are implausible as Failures."""
        if "failure" in answer:
            reason = " ".join(str(answer["failure"]).split())
            return Failure("failed", reason[:_MAX_REASON] or "the program gives no reason")
        values = answer.get("values")
        if not isinstance(values, Mapping):
            return Failure("bad-answer", "the answer has neither 'values' nor 'failure'")
        read = {info.name: plausible(values.get(info.name), info) for info in self.properties}
        good = any(not isinstance(value, Failure) for value in read.values())
        return read if good else next(value for value in read.values() if isinstance(value, Failure))


def _read_command(command: Sequence[str] | str) -> tuple[str, ...]:
    words = shlex.split(command) if isinstance(command, str) else list(command)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ConfigError(f"program: command {command!r} must be a list of words, or one line")
    return tuple(words)


def _positive(name: str, value: float) -> float:
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise ConfigError(f"program: {name} must be a positive number of seconds (given: {value!r})")
    return float(value)


def _plain(structure: Structure) -> dict[str, Any]:
    """A crystal as a program gets it: vectors as rows (A), element symbols, fractional coordinates."""
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [element.symbol for element in structure.species],
        "frac_coords": structure.frac_coords.tolist(),
    }


def _read_properties(greeting: Mapping[str, Any], title: str) -> tuple[PropertyInfo, ...]:
    """What a greeting declares.

    Raises:
        ConfigError: a property lacks its name or unit, or is declared wrongly.
    """
    declared = greeting.get("properties")
    if not isinstance(declared, list) or not declared:
        raise ConfigError(f"program '{title}': its greeting declares no properties")
    infos = tuple(_read_property(entry, title) for entry in declared)
    names = [info.name for info in infos]
    if len(set(names)) < len(names):
        raise ConfigError(f"program '{title}': its greeting declares a name twice: {', '.join(names)}")
    return infos


def _read_property(entry: Any, title: str) -> PropertyInfo:
    known = {"name", "unit", "bounds", "description", "source", "cost", "uncertainty", "extensive"}
    if not isinstance(entry, dict) or not {"name", "unit"} <= entry.keys() <= known:
        raise ConfigError(
            f"program '{title}': a property is declared as {entry!r}; it needs name and unit, and may have "
            f"{', '.join(sorted(known - {'name', 'unit'}))}"
        )
    cost = entry.get("cost", "seconds")
    if cost not in get_args(Cost):
        raise ConfigError(f"program '{title}': cost {cost!r} is none of {', '.join(get_args(Cost))}")
    try:
        lower, upper = entry.get("bounds", (None, None))
        return PropertyInfo(
            name=entry["name"],
            unit=str(entry["unit"]),
            description=str(entry.get("description") or f"{entry['name']} by an external program."),
            bounds=(-math.inf if lower is None else float(lower), math.inf if upper is None else float(upper)),
            cost=cost,
            source=str(entry.get("source") or title),
            needs=("program",),
            uncertainty=str(entry.get("uncertainty", "")),
            extensive=bool(entry.get("extensive", False)),
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"program '{title}': a property is declared as {entry!r}: {error}") from None


def _read_version(greeting: Mapping[str, Any], title: str) -> str:
    version = greeting.get("version")
    if not isinstance(version, str) or not version:
        raise ConfigError(f"program '{title}': its greeting has no 'version' (a text that changes with the values)")
    return version
