"""Serve a property to MatInvent from a program of its own, in any environment with Python 3.8 or newer.

    from matinvent_program import serve

    def stiffness(structure):
        return ...  # structure["lattice"], structure["species"], structure["frac_coords"]

    serve(stiffness, {"name": "stiffness", "unit": "GPa", "bounds": [0, 1000]})

MatInvent puts this file on the PYTHONPATH of the programs that it starts; it needs the standard library only and may be
copied. Import it before what may print: from then on, standard output is for answers, and prints go to standard error.
The protocol is a line of JSON each way (see docs/own_properties.md), so that any other language will do.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # nothing of typing is needed at run time
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO, NoReturn


def serve(function: Callable[[dict[str, Any]], Any], *properties: dict[str, Any], version: str = "") -> None:
    """Answer crystals from standard input with values on standard output, until the input ends.

    What the function raises becomes the failure of that crystal.

    Args:
        function: takes a dictionary with ``lattice`` (rows are vectors, A), ``species`` (element symbols) and
            ``frac_coords``; returns a number, or a dictionary of numbers by the names of the properties.
        properties: what is computed; each a dictionary with ``name`` and ``unit``, and perhaps ``bounds`` ([smallest,
            largest]; null for none), ``description``, ``source``, ``cost`` (instant, seconds, minutes, hours),
            ``uncertainty`` (name of the property that is the standard deviation of this one) and ``extensive``.
        version: must change with the values; by default it is a digest of the script.
    """
    version = version or _digest(sys.argv[0])
    _write({"matinvent": 1, "version": version, "properties": list(properties)})
    names = [declared["name"] for declared in properties]
    for line in _questions:
        question = json.loads(line.decode())
        _write(_answer(function, question, names))


def refuse(reason: str) -> NoReturn:
    """End the program because it cannot work at all: MatInvent reports the reason as it is."""
    _write({"matinvent": 1, "refused": reason})
    sys.exit(1)


def _answer(
    function: Callable[[dict[str, Any]], Any], question: dict[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    try:
        answer = {"id": question["id"], "values": _by_name(function(question["structure"]), names)}
        json.dumps(answer)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong concerns this crystal only
        return {"id": question["id"], "failure": f"{type(error).__name__}: {error}"}
    return answer


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to MatInvent for questions and answers.

    Whatever else is printed goes to standard error, and what the program starts finds no input.
    """
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.stdout.flush()
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return questions, answers


def _write(message: dict[str, Any]) -> None:
    _answers.write(json.dumps(message).encode() + b"\n")
    _answers.flush()


def _by_name(result: Any, names: Sequence[str]) -> dict[str, Any]:
    """Plain numbers by the names of properties; numpy's and torch's scalars become such."""
    values = result if isinstance(result, dict) else {names[0]: result}
    return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}


def _digest(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - nothing but the barest
        return hashlib.sha256(file.read()).hexdigest()[:16]


_questions, _answers = _take_pipes()
