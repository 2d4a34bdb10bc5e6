"""``matinvent reference``: what new crystals are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from matinvent.cli.campaigns import INTERRUPTED
from matinvent.cli.output import checked_bar, console, error_console, refuse_existing
from matinvent.cli.overrides import section_settings
from matinvent.errors import ConfigError, Failure
from matinvent.interrupt import Interrupted, catch_signals

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config_screening import RelaxationConfig
    from matinvent.screening.journal import JournaledRelaxer
    from matinvent.screening.reference import ReferenceSet
    from matinvent.screening.reference_build import Account
    from matinvent.screening.stability import Entries

app = typer.Typer(help="Make and describe reference sets: the hull and the known crystals that new ones compete with.")

_SECTION = "screening.relaxation"

#: The energy scale of tables that do not say theirs: that of the screening's default potential.
_DEFAULT_POTENTIAL = "chgnet-0.3.0"

#: Crystals of a kind of trouble that are named on the terminal.
_NAMED = 5


@app.command()
def build(
    structures: Annotated[
        list[Path],
        typer.Argument(
            metavar="STRUCTURES...",
            help="Known crystals: CIF, POSCAR, extended XYZ, ASE databases, folders, zip files, or a Parquet table of "
            "material_id, species, abc (A), angles (deg), frac_coords.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Reference set to write, NAME.npz.")],
    energies: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE|SET",
            help="Parquet or CSV table of formula and energy_per_atom (eV/atom), also of more than the crystals, or a "
            "reference set (mp, NAME.npz) whose hull is taken over. Without it the energies are computed.",
            show_default=False,
        ),
    ] = None,
    relax: Annotated[
        bool,
        typer.Option(
            "--relax",
            help="Relax the crystals and use their energies then (with --energies: besides those). Recommended, as "
            "candidates are relaxed too; with CHGNet a small crystal takes about 0.15 s on a CPU core, without --relax "
            "0.02 s.",
        ),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar=f"{_SECTION}.KEY=VALUE", help="How energies are computed; repeatable."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that compute energies; 0: one per CPU core.")] = 0,
    keep_structures: Annotated[
        bool, typer.Option("--keep-structures", help="Store the crystals too, so that matches can be confirmed.")
    ] = False,
    potential: Annotated[
        str | None,
        typer.Option(
            help=f"What gave the energies of a table; default: {_DEFAULT_POTENTIAL}. The screening refuses to mix "
            "energy scales.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Derive a reference set from known crystals and their energies, given or computed.

    Computed energies are kept as they come in NAME.npz.journal.jsonl: after any interruption the same command
    continues. Crystals that cannot be read or recognised are named and left out.

    [bold]Examples[/bold]
    $ matinvent reference build known/ --relax --energies mp --output mine.npz   [dim]# on top of the shipped hull[/dim]
    $ matinvent reference build known/ --relax --set screening.relaxation.potential=sevennet --output mine.npz
    $ matinvent reference build crystals.parquet --energies energies.csv --output mine.npz
    $ matinvent evaluate candidates/ --set screening.reference=mine.npz
    """
    from matinvent.screening.reference_build import build_reference

    refuse_existing(output)
    settings = _settings(overrides or [], relax, computing=relax or energies is None)
    entries, its_scale = (None, None) if energies is None else _entries(energies)
    total, crystals = _crystals(structures)
    relaxer = None if settings is None else _relaxer(settings, workers, output)
    label = f"{'fingerprints' if relaxer is None else 'energies and fingerprints'} of {total} crystals"
    try:
        with catch_signals() as signalled, checked_bar(label, lambda: _stop_if(signalled())) as progress:
            reference, account = build_reference(
                crystals,
                total,
                output,
                potential=_common_scale(potential, its_scale, None if relaxer is None else relaxer.potential),
                entries=entries,
                relaxer=relaxer,
                keep_structures=keep_structures,
                made_from=_origin(structures, energies, settings),
                progress=progress,
            )
    except Interrupted:
        kept = "" if relaxer is None else "; finished energies are kept, the same command continues"
        error_console().print(f"Interrupted{kept}.", highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if relaxer is not None:
            relaxer.close()
    _journal(output).unlink(missing_ok=True)
    _show_account(account)
    console().print(_description(str(output), reference))
    _show_use(output, reference)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A shipped set (mp) or a file made by build.")
    ] = "mp",
) -> None:
    """What a reference set holds, and what it was made from.

    [bold]Example[/bold]
    $ matinvent reference show mp
    """
    from matinvent.screening.reference import ReferenceSet

    console().print(_description(name, ReferenceSet.load(name)))


def _settings(overrides: Sequence[str], relax: bool, *, computing: bool) -> RelaxationConfig | None:
    """How energies are computed; None when they are not."""
    if not computing:
        if overrides:
            raise ConfigError(f"--set {overrides[0]}: nothing is computed with --energies alone; add --relax")
        return None
    relaxation = section_settings(_SECTION, overrides, what="relaxation", example="fmax=0.05").screening.relaxation
    return relaxation.model_copy(update={"enabled": relax})


def _relaxer(settings: RelaxationConfig, workers: int, output: Path) -> JournaledRelaxer:
    """Computes energies and keeps them beside the output."""
    from matinvent.screening.journal import JournaledRelaxer, settings_identity
    from matinvent.screening.relaxation import make_relaxer

    journal = _journal(output)
    if journal.is_file():
        error_console().print(f"Continuing with the energies in {journal}", soft_wrap=True, highlight=False)
    inner = make_relaxer(settings, workers)
    return JournaledRelaxer(inner, journal, settings_identity(inner.potential, settings))


def _entries(source: str) -> tuple[Entries, str | None]:
    """Energies from a table or from the hull of a reference set, and their scale as far as it is known."""
    from matinvent.screening.reference import SHIPPED, ReferenceSet
    from matinvent.screening.reference_tables import read_energies
    from matinvent.screening.stability import Entries

    if source in SHIPPED or source.endswith(".npz"):
        reference = ReferenceSet.load(source)
        return Entries(reference.hull.fractions, reference.hull.energies), reference.potential
    return read_energies(Path(source)), None


def _common_scale(*names: str | None) -> str:
    """The energy scale of the whole set."""
    scales = {name for name in names if name is not None}
    if len(scales) > 1:
        raise ConfigError(f"energies of {' and '.join(sorted(scales))} cannot be mixed; a reference set has one scale")
    return scales.pop() if scales else _DEFAULT_POTENTIAL


def _crystals(paths: Sequence[Path]) -> tuple[int, Iterable[tuple[str, Structure | Failure]]]:
    """Number of the crystals in tables and files, and the crystals."""
    from matinvent.cli.structure_files import read_structures
    from matinvent.screening.reference_tables import StructureTable

    tables = [StructureTable(path) for path in paths if path.suffix.lower() == ".parquet"]
    files = [path for path in paths if path.suffix.lower() != ".parquet"]
    read = read_structures(files) if files else []
    return sum(map(len, tables)) + len(read), chain(*tables, read)


def _journal(output: Path) -> Path:
    return output.with_name(f"{output.name}.journal.jsonl")


def _stop_if(signalled: bool) -> None:
    if signalled:
        raise Interrupted


def _origin(structures: Sequence[Path], energies: str | None, settings: RelaxationConfig | None) -> str:
    """A line on what a set was made from."""
    parts = [", ".join(path.name for path in structures)]
    if energies is not None:
        parts.append(f"energies of {Path(energies).name}")
    if settings is not None:
        relaxed = f"relaxed to {settings.fmax:g} eV/A, at most {settings.max_steps} steps"
        parts.append(f"energies computed, {relaxed if settings.enabled else 'not relaxed'}")
    return "; ".join(parts)


def _show_account(account: Account) -> None:
    """Name what did not go well."""
    err = error_console()
    troubles = (
        ("cannot be recognised and are left out", account.left_out),
        ("have no energy but count as known", account.without_energy),
    )
    for what, crystals in troubles:
        if crystals:
            err.print(f"[yellow]{len(crystals)} crystals {what}:[/yellow]", highlight=False)
        for name, failure in crystals[:_NAMED]:
            err.print(f"[yellow]  {escape(name)}: {escape(str(failure))}[/yellow]", soft_wrap=True, highlight=False)
        if len(crystals) > _NAMED:
            err.print(f"[yellow]  ... and {len(crystals) - _NAMED} more[/yellow]", highlight=False)
    if account.unconverged:
        err.print(
            f"{account.unconverged} relaxations ran out of steps ({_SECTION}.max_steps): energies are upper bounds",
            soft_wrap=True,
            highlight=False,
        )


def _description(name: str, reference: ReferenceSet) -> Table:
    """What a set holds."""
    import numpy as np

    from matinvent.screening.reference import _locate
    from matinvent.screening.stability import symbol

    hull = reference.hull
    file = _locate(name)
    card = Path(str(file)).with_suffix(".md")
    with np.load(file, allow_pickle=False) as data:
        made_from = str(data["made_from"]) if "made_from" in data else "not recorded"
        kept = "structure_offsets" in data
        formulas = len(data["counts"])
    pure = set(np.flatnonzero((hull.fractions == 1).any(axis=0)).tolist())
    present = np.flatnonzero((hull.fractions > 0).any(axis=0)).tolist()
    missing = [symbol(z) for z in present if z not in pure]
    table = Table("", "", title=f"Reference set {escape(name)}", title_justify="left", show_header=False)
    table.add_row("known crystals", f"{len(reference)} of {formulas} formulas")
    table.add_row("structures", "stored" if kept else "not stored: fingerprints only")
    table.add_row("hull vertices", str(len(hull)))
    table.add_row("elements", f"{len(present)}: {' '.join(symbol(z) for z in present)}")
    if missing:
        table.add_row("without pure phase", f"{' '.join(missing)}: most crystals with these have no hull")
    table.add_row("energies", escape(reference.potential))
    table.add_row("made from", escape(made_from))
    if card.is_file():
        table.add_row("card", escape(str(card)))
    return table


def _show_use(output: Path, reference: ReferenceSet) -> None:
    other = reference.potential != _DEFAULT_POTENTIAL
    console().print(
        f"Use it: --set screening.reference={output}"
        + (f", with the potential that gave {reference.potential}" if other else ""),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
