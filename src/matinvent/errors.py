"""Errors a user can cause and fix, and failures that are values.

Exceptions derive from :class:`MatInventError`; the command line prints their message and exits
with code 2. A :class:`Failure` is what a room returns when one crystal (not the program) went
wrong: it carries its reason, and nothing downstream can mistake it for a number.
"""

from __future__ import annotations

from dataclasses import dataclass


class MatInventError(Exception):
    """Base of all errors that name what is wrong and how to fix it."""


class ConfigError(MatInventError):
    """A campaign configuration cannot be used as written."""


class InputError(MatInventError):
    """A file or structure given by the user cannot be read or used."""


class CheckpointError(MatInventError):
    """A checkpoint or run directory is missing, damaged or does not fit."""


class EvaluationError(MatInventError):
    """An evaluator is set up so that no evaluation can succeed."""


class MissingDependencyError(MatInventError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'matinvent[{extra}]'"
        )
        self.package = package
        self.extra = extra


@dataclass(frozen=True, slots=True)
class Failure:
    """What came of one crystal when no value could be had.

    Attributes:
        kind: short machine-readable word, e.g. ``timeout``, ``unknown-element``, ``not-finite``.
        reason: one sentence for a person.
    """

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"
