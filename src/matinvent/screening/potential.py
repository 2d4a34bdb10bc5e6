"""What a potential is, and which there are.

CHGNet is evaluated for many crystals at once (:class:`Potential`). Every other potential is an ASE calculator that
relaxes one crystal after the other with ASE's optimizer: the slower path, several times as expensive per crystal as
batches would be with a potential of the same cost. A package offers a calculator under a name by an entry point of the
group ``matinvent.potentials``: its value is a function ``module:function`` that takes no arguments and returns an ASE
calculator with energy, forces and stress. Without packaging, ``module:function`` itself serves as the name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from matinvent.errors import ConfigError, MatInventError, MissingDependencyError
from matinvent.plugins import load_callable
from matinvent.suggestions import nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from matinvent.errors import Failure
    from matinvent.screening.neighbors import Crystal


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a potential says about one crystal.

    Attributes:
        energy: potential energy of the cell (eV).
        forces: forces on the atoms, shape (N, 3), eV/A.
        stress: Cauchy stress, shape (3, 3), eV/A^3; positive on the diagonal under tension.
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]


class Potential(Protocol):
    """A potential that evaluates many crystals at once; ``potential`` names its energy scale."""

    potential: str

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        """Same length and order; a crystal that cannot be treated is a Failure in its place."""
        ...


GROUP = "matinvent.potentials"


@dataclass(frozen=True, slots=True)
class _Shipped:
    """An ASE calculator known by name.

    Attributes:
        scale: name of its energy scale: the potential with its weights.
        factory: ``module:function`` that makes it; takes ``device``.
        package: what pip must install for it.
        params: further arguments of the factory; they fix the weights that ``scale`` names.
    """

    scale: str
    factory: str
    package: str
    params: Mapping[str, Any] = field(default_factory=dict)


#: By name, which is also the extra that brings the package.
_CALCULATORS = {
    "sevennet": _Shipped("sevennet-0", "sevenn.calculator:SevenNetCalculator", "sevenn", {"model": "7net-0"}),
    "mace": _Shipped(
        "mace-mpa-0-medium",
        "mace.calculators:mace_mp",
        "mace-torch",
        {"model": "medium-mpa-0", "default_dtype": "float64"},
    ),
}


def energy_scale(name: str) -> str:
    """The name of a potential's energy scale, known without loading it.

    Args:
        name: ``chgnet``, a named calculator, a plug-in's name, or ``module:function``.

    Raises:
        ConfigError: there is no such potential (the known ones are given).
    """
    if name == "chgnet":
        from matinvent.screening.chgnet import ChgnetEvaluator

        return ChgnetEvaluator.potential
    if name in _CALCULATORS:
        return _CALCULATORS[name].scale
    plugins = _plugins()
    if ":" not in name and name not in plugins:
        known = sorted({"chgnet", *_CALCULATORS, *plugins})
        raise ConfigError(f"{_setting(name)} is unknown ({nearest(name, known)}). Your own: 'module:function'")
    return name


def require_package(name: str) -> None:
    """See that the package of a named calculator is installed, without importing it.

    Raises:
        MissingDependencyError: it is not.
    """
    shipped = _CALCULATORS.get(name)
    if shipped is not None and find_spec(shipped.factory.split(".")[0]) is None:
        raise MissingDependencyError(shipped.package, name, _setting(name))


def make_calculator(name: str, device: str) -> Any:
    """Make the ASE calculator of a potential.

    Args:
        name: see :func:`energy_scale`; not one that is evaluated in batches.
        device: ``cpu`` or ``cuda``, for the named calculators; a plug-in or a user's function chooses its own.

    Raises:
        ConfigError: the potential is unknown, or what it names is not there, raises, or makes no ASE calculator with
            energy, forces and stress.
        MissingDependencyError: its package is not installed.
    """
    setting, shipped = _setting(name), _CALCULATORS.get(name)
    energy_scale(name)
    require_package(name)
    if shipped is None:
        factory = load_callable(_plugins().get(name, name), setting)
        params: Mapping[str, Any] = {}
    else:
        factory, params = load_callable(shipped.factory, setting), {**shipped.params, "device": device}
    try:
        calculator = factory(**params)
    except MatInventError:
        raise
    except Exception as error:
        raise ConfigError(f"{setting}: {type(error).__name__}: {error}") from error
    defect = _calculator_defect(calculator)
    if defect is not None:
        raise ConfigError(f"{setting}: {defect}")
    return calculator


def _calculator_defect(made: Any) -> str | None:
    """Why an object cannot serve as an ASE calculator; None when it can. ASE asks for no common base class."""
    if isinstance(made, type):
        return f"returns the class {made.__name__}, not a calculator made of it"
    methods = ("get_potential_energy", "get_forces", "get_stress")
    lacking = [method for method in methods if not callable(getattr(made, method, None))]
    if lacking:
        return f"{type(made).__name__} is no ASE calculator, it lacks {', '.join(lacking)}"
    properties = getattr(made, "implemented_properties", None)
    if properties:
        absent = [wanted for wanted in ("energy", "forces", "stress") if wanted not in properties]
        if absent:
            return f"{type(made).__name__} does not compute {', '.join(absent)}, which relaxing atoms and cell needs"
    return None


def _setting(name: str) -> str:
    return f"screening.relaxation.potential '{name}'"


def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}
