"""Public helpers for tests: contract checks for properties of your own, and a toy world with a known optimum.

from matinvent.testing import check_property

def test_stiffness():
    check_property("mine.py:stiffness", CRYSTALS)
"""

from matinvent.testing.evaluators import check_evaluator, check_property
from matinvent.testing.invariances import REWRITINGS

__all__ = ["REWRITINGS", "check_evaluator", "check_property"]
