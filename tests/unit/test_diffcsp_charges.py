"""The last orbit of a crystal takes an element with which the charges balance."""

from __future__ import annotations

import pytest
import torch
from pymatgen.core import Element

from matinvent.generators.diffcsp.charges import choose_balanced
from matinvent.generators.diffcsp.crystal import MAX_Z
from matinvent.generators.diffcsp.network import MASKED


def choose(
    known: list[tuple[str, int]],
    size: int,
    wishes: list[str],
    *,
    last: bool = True,
    forbidden: tuple[str, ...] = (),
    alloys: bool = True,
) -> str:
    """What an orbit of ``size`` atoms becomes beside known ones, if elements are wished in this order."""
    scores = torch.linspace(0, -1, MAX_Z)
    for rank, symbol in enumerate(wishes):
        scores[Element(symbol).Z - 1] = 100.0 - rank
    for symbol in forbidden:
        scores[Element(symbol).Z - 1] = -torch.inf
    species = torch.tensor([[*(Element(symbol).Z - 1 for symbol, _ in known), MASKED, 0]])
    sizes = torch.tensor([[*(float(n) for _, n in known), float(size), 0.0]])
    chosen = choose_balanced(scores[None], torch.tensor([last]), species, sizes, len(known), alloys=alloys)
    return str(Element.from_Z(int(chosen[0]) + 1))


@pytest.mark.parametrize(
    ("known", "size", "wishes", "expected"),
    [
        ([("Na", 4)], 4, ["O", "Cl", "F"], "O"),  # a peroxide
        ([("Mg", 1)], 1, ["F", "Cl", "O"], "O"),
        ([("F", 2)], 1, ["K", "Li", "Ca", "Mg"], "Ca"),
        ([("Sr", 1), ("O", 3)], 1, ["Al", "Ti"], "Ti"),
        ([("Ni", 3)], 1, ["Al", "Ti"], "Al"),  # metals are not asked for their charges
    ],
)
def test_the_first_wish_that_balances_is_granted(known, size, wishes, expected):
    assert choose(known, size, wishes) == expected


def test_as_long_as_other_orbits_are_open_the_first_wish_is_granted():
    assert choose([("Mg", 1)], 1, ["F", "O"], last=False) == "F"


def test_what_is_forbidden_is_not_taken_for_the_sake_of_balance():
    everything = tuple(str(Element.from_Z(z)) for z in range(1, MAX_Z + 1))
    others = tuple(symbol for symbol in everything if symbol not in {"F", "Cl"})
    assert choose([("Mg", 1)], 1, ["F", "Cl"], forbidden=others) == "F"  # neither balances


def test_how_the_cell_is_written_does_not_matter():
    wishes = ["F", "S", "O"]
    assert choose([("Mg", 1)], 1, wishes) == choose([("Mg", 2), ("Mg", 2)], 4, wishes) == "S"


def test_alloys_may_be_asked_for_their_charges():
    assert choose([("Ni", 3)], 1, ["Al", "Ti", "N"], alloys=False) == "N"
