"""``matinvent evaluate``: a user's own crystals through the screening, and how good they are as a sample."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from matinvent.cli.campaigns import INTERRUPTED
from matinvent.cli.output import checked_bar, console, error_console, next_directory, progress_bar, refuse_existing
from matinvent.cli.overrides import section_settings
from matinvent.errors import ConfigError, Failure, InputError
from matinvent.interrupt import Interrupted, catch_signals

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.candidate import Candidate
    from matinvent.config_screening import ScreeningConfig
    from matinvent.screening.reference import ReferenceSet

JOURNAL = "journal.jsonl"

#: Unreadable crystals named on the terminal; all are in the table.
_NAMED = 10

#: What an evaluation changes of the screening of campaigns: every crystal is screened to its end, none is given up
#: (a mean energy above the hull would be biased), and charges are judged beside, not before.
_DEFAULTS = (
    "screening.exhaustive=true",
    "screening.relaxation.give_up=false",
    "screening.validity.smact=false",
)


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...", help="CIF, POSCAR, extended XYZ, pymatgen JSON, ASE databases, folders or zip files."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="screening.KEY=VALUE", help="Change one screening setting; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="New folder for results; default: runs/evaluate-N.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue in --output where a kill stopped it.")] = False,
) -> None:
    """Judge generated crystals: how many are valid, stable, unique, novel?

    Writes results.csv (a row per crystal, unreadable ones included),
    metrics.json and metrics.csv (the table), relaxed/ (CIF files) and
    relaxed.extxyz (the same with energies, for ASE). Each relaxation is kept
    once it is done: after any interruption the same command with --resume
    goes on.

    Every crystal is relaxed to its end. Charge balance (SMACT) is judged
    beside stability; with screening.validity.smact=true crystals without it
    are not relaxed.

    [bold]Examples[/bold]
    $ matinvent evaluate candidates/ --output screened
    $ matinvent evaluate crystals.extxyz --set screening.relaxation.fmax=0.05
    $ matinvent evaluate a.zip --set screening.max_e_above_hull=0.05
    [dim]# as they are, not relaxed[/dim]
    $ matinvent evaluate a.cif --set screening.relaxation.enabled=false
    """
    from matinvent.candidate import Candidate
    from matinvent.cli.structure_files import read_structures

    if resume and output is None:
        raise ConfigError("--resume needs --output: the folder to continue in")
    folder = output or next_directory(Path("runs"), "evaluate")
    if _is_finished(folder, resume):
        _show_report(folder, "This evaluation is finished.")
        return
    settings = _settings(overrides or [])
    start = time.monotonic()
    with progress_bar("reading") as progress:
        sources, crystals = zip(*read_structures(files, progress), strict=True)
    report_unreadable(sources, crystals)
    candidates = [Candidate.of(0, i, c, s) for i, (s, c) in enumerate(zip(sources, crystals, strict=True))]
    with _resumable(folder, [*map(str, files), *(f"--set={change}" for change in overrides or [])]) as stopped:
        _carry_out(candidates, settings, folder, list(map(str, files)), stopped)
    _show_report(folder, f"{len(candidates)} crystals in {time.monotonic() - start:.0f} s.")


def report_unreadable(sources: Sequence[str], crystals: Sequence[Structure | Failure]) -> None:
    """Name the crystals that could not be read, the first ones if they are many.

    Raises:
        InputError: none could be read.
    """
    unreadable = [(s, c) for s, c in zip(sources, crystals, strict=True) if isinstance(c, Failure)]
    if len(unreadable) == len(crystals):
        raise InputError(f"none of the files can be read: {unreadable[0][0]}: {unreadable[0][1].reason}")
    err = error_console()
    for source, failure in unreadable[:_NAMED]:
        err.print(f"[yellow]{escape(source)}: {escape(str(failure))}[/yellow]", soft_wrap=True, highlight=False)
    if len(unreadable) > _NAMED:
        err.print(f"[yellow]... and {len(unreadable) - _NAMED} more that cannot be read[/yellow]", highlight=False)


def _is_finished(folder: Path, resume: bool) -> bool:
    """Whether nothing is left to do in a folder.

    Raises:
        InputError: the folder must not be written to.
    """
    from matinvent.reporting.quality_report import JSON_FILE

    unfinished = (folder / JOURNAL).is_file() and not (folder / JSON_FILE).is_file()
    if not resume:
        if unfinished:
            raise InputError(f"{folder}: holds an unfinished evaluation; continue it with --resume")
        refuse_existing(folder)
    elif folder.exists() and not unfinished:
        if (folder / JSON_FILE).is_file():
            return True
        if not folder.is_dir() or any(folder.iterdir()):
            raise InputError(f"{folder}: no evaluation to resume in it; choose another --output")
    return False


def _settings(overrides: Sequence[str]) -> ScreeningConfig:
    """Screening as campaigns do it, but of every crystal to its end."""
    screening = section_settings(
        "screening", [*_DEFAULTS, *overrides], what="screening", example="novelty=false"
    ).screening
    if not screening.enabled:
        raise ConfigError(
            "--set screening.enabled=false: nothing would be evaluated; to leave relaxation or stability out, set "
            "screening.relaxation.enabled or screening.stability to false"
        )
    return screening.model_copy(update={"exhaustive": True})


@contextmanager
def _resumable(folder: Path, arguments: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Do long work; a signal, or a disk that is full, leaves it so that the same command with --resume continues.

    Yields a function that raises if a signal came.
    """

    def check() -> None:
        if signalled():
            raise Interrupted

    command = shlex.join(["matinvent", "evaluate", *arguments, "--output", str(folder), "--resume"])
    try:
        with catch_signals() as signalled:
            yield check
    except Interrupted:
        done = f"Interrupted; {_journaled(folder)} relaxations are kept. Continue with: {command}"
        error_console().print(done, soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        fault = f"{error.filename or folder}: {error.strerror or error}"
        raise InputError(f"{fault}; the relaxations are safe. When that is mended, continue with: {command}") from None


def _journaled(folder: Path) -> int:
    """Results in the journal: lines below its header."""
    try:
        with (folder / JOURNAL).open("rb") as lines:
            return max(0, sum(1 for _ in lines) - 1)
    except FileNotFoundError:  # stopped before the first one
        return 0


def _carry_out(
    candidates: Sequence[Candidate],
    settings: ScreeningConfig,
    folder: Path,
    files: Sequence[str],
    check: Callable[[], None],
) -> None:
    """Screen, compare and write; the journal goes once everything is written."""
    from matinvent.reporting.quality_report import Conditions, collect, write_metrics
    from matinvent.reporting.screened import space_groups, write_screened
    from matinvent.screening.matching import Matcher
    from matinvent.screening.quality import compare, summarise
    from matinvent.screening.reference import ReferenceSet

    reference = ReferenceSet.load(settings.reference)
    potential = _screen(candidates, settings, reference, folder / JOURNAL, check)
    with checked_bar(f"comparing {len(candidates)} crystals", check) as progress:
        comparisons = compare(candidates, reference, progress, Matcher.of(settings))
    groups = space_groups(candidates)
    limit = settings.max_e_above_hull
    folder.mkdir(parents=True, exist_ok=True)
    write_screened(candidates, comparisons, groups, folder, limit)
    quality = summarise(candidates, comparisons, limit=limit, charges_first=settings.validity.smact)
    conditions = Conditions(files, settings, potential, len(reference), len(reference.hull))
    write_metrics(collect(quality, candidates, groups, conditions), folder)
    (folder / JOURNAL).unlink(missing_ok=True)


def _screen(
    candidates: Sequence[Candidate],
    settings: ScreeningConfig,
    reference: ReferenceSet,
    journal: Path,
    check: Callable[[], None],
) -> str:
    """Give candidates their fates, with every relaxation kept in the journal; the name of the energy scale."""
    from matinvent.screening.journal import JournaledRelaxer, settings_identity
    from matinvent.screening.relaxation import make_relaxer
    from matinvent.screening.screen import Screener

    inner = make_relaxer(settings.relaxation, settings.workers)
    relaxer = JournaledRelaxer(inner, journal, settings_identity(inner.potential, settings.relaxation))
    try:
        screener = Screener(settings, relaxer=relaxer, reference=reference)
        with checked_bar(f"screening {len(candidates)} crystals", check) as progress:
            screener.screen(candidates, len(candidates), progress)
    finally:
        relaxer.close()
    return relaxer.potential


def _show_report(folder: Path, heading: str) -> None:
    from matinvent.reporting.quality_report import read_metrics, tables

    out = console()
    out.print(heading, highlight=False)
    out.print(tables(read_metrics(folder)), highlight=False)
    out.print(
        f"In {folder}: results.csv (each crystal), metrics.json and metrics.csv (this table), relaxed/ (CIF), "
        "relaxed.extxyz (with energies)",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
