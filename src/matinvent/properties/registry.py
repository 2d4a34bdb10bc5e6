"""Which evaluator computes which property: shipped ones, plug-ins, and a user's own function.

A plug-in registers an entry point of the group ``matinvent.properties``: its name is the property, its value
``module:function``. Without packaging, ``module:function`` or ``file.py:function`` itself serves as the property.
Either names a function of a structure (see functions.py), or a factory that takes the objective's ``params`` as
keywords and returns an evaluator; one that is named directly declares exactly one property.

``program:NAME`` is the property NAME of an external program (see external.py), ``predictor:NAME`` that of a file of
``matinvent predictor train`` (see learned.py); ``matgl:NAME`` and ``alignn:NAME`` are
what a model of these packages predicts (see graph_models.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from matinvent.errors import ConfigError, MatInventError
from matinvent.plugins import load_callable
from matinvent.properties.evaluator import Evaluator, PropertyInfo
from matinvent.properties.functions import FunctionEvaluator, is_property_function
from matinvent.suggestions import nearest

GROUP = "matinvent.properties"

#: Shipped properties -> the factory of their evaluator.
_SHIPPED = {
    "energy_above_hull": "matinvent.properties.energetics:Energetics",
    "formation_energy": "matinvent.properties.energetics:Energetics",
    "magnetic_density": "matinvent.properties.magnetism:MagneticDensity",
    "bulk_modulus": "matinvent.properties.elasticity:BulkModulus",
    "bulk_modulus_vrh": "matinvent.properties.elastic_tensor:ElasticModuli",
    "shear_modulus": "matinvent.properties.elastic_tensor:ElasticModuli",
    "young_modulus": "matinvent.properties.elastic_tensor:ElasticModuli",
    "pugh_ratio": "matinvent.properties.elastic_tensor:ElasticModuli",
    "poisson_ratio": "matinvent.properties.elastic_tensor:ElasticModuli",
    "heat_capacity": "matinvent.properties.thermal:HeatCapacity",
    "density": "matinvent.properties.geometry:Density",
    "hhi": "matinvent.properties.composition:HerfindahlHirschman",
    "hhi_production": "matinvent.properties.composition:HerfindahlHirschman",
    "mcia": "matinvent.properties.interface:CoincidentArea",
    "price": "matinvent.properties.supply:Price",
    "abundance": "matinvent.properties.supply:CrustalAbundance",
    "log_abundance": "matinvent.properties.supply:CrustalAbundance",
    "dimensionality": "matinvent.properties.symmetry:Dimensionality",
    "space_group_number": "matinvent.properties.symmetry:CrystalSymmetry",
    "symmetry_order": "matinvent.properties.symmetry:CrystalSymmetry",
    "cell_size": "matinvent.properties.symmetry:CrystalSymmetry",
    "volume_per_atom": "matinvent.properties.packing:Packing",
    "minimum_distance": "matinvent.properties.packing:Packing",
    "packing_fraction": "matinvent.properties.packing:Packing",
    "effective_coordination": "matinvent.properties.packing:Packing",
    "number_of_elements": "matinvent.properties.composition:ElementStatistics",
    "mean_atomic_mass": "matinvent.properties.composition:ElementStatistics",
    "mean_atomic_number": "matinvent.properties.composition:ElementStatistics",
    "electronegativity_difference": "matinvent.properties.composition:ElementStatistics",
    "mixing_entropy": "matinvent.properties.composition:ElementStatistics",
    "size_mismatch": "matinvent.properties.composition:ElementStatistics",
    "valence_electron_concentration": "matinvent.properties.composition:ElementStatistics",
    "metal_fraction": "matinvent.properties.composition:ElementStatistics",
    "rare_earth_fraction": "matinvent.properties.composition:ElementStatistics",
    "precious_fraction": "matinvent.properties.composition:ElementStatistics",
    "toxic_fraction": "matinvent.properties.composition:ElementStatistics",
    "radioactive_fraction": "matinvent.properties.composition:ElementStatistics",
    "band_gap": "matinvent.properties.learned:BandGap",
    "band_gap_hse": "matinvent.properties.learned:BandGapHse",
    "refractive_index": "matinvent.properties.learned:RefractiveIndex",
    "dielectric_electronic": "matinvent.properties.learned:DielectricElectronic",
    "dielectric": "matinvent.properties.dielectric:Dielectric",
    "figure_of_merit": "matinvent.properties.dielectric:Dielectric",
    "synthesizability": "matinvent.properties.learned:Synthesizability",
    "bulk_modulus_learned": "matinvent.properties.learned:BulkModulusLearned",
    "shear_modulus_learned": "matinvent.properties.learned:ShearModulusLearned",
    "magnetic_density_learned": "matinvent.properties.learned:MagneticDensityLearned",
    "formation_energy_learned": "matinvent.properties.learned:FormationEnergyLearned",
}

#: What may stand before the colon instead of a module: the name behind it is the property's.
_KINDS = {
    "program": "matinvent.properties.external:Program",
    "predictor": "matinvent.properties.learned:Learned",
    "matgl": "matinvent.properties.graph_models:Matgl",
    "alignn": "matinvent.properties.graph_models:Alignn",
}


def create(name: str, params: Mapping[str, Any]) -> Evaluator:
    """Make the evaluator of a property.

    Args:
        name: a shipped property, a plug-in's, ``module:function``, ``file.py:function``, or ``program:NAME`` and such.
        params: keyword arguments of the factory, or of the function besides the structure.

    Raises:
        ConfigError: the property is unknown (the nearest names are given), its factory cannot be imported, it does
            not take these parameters, or what it returns does not compute the property.
        MissingDependencyError: its package is not installed.
    """
    factory = find_factory(name)
    if _is_function(name, factory, params):
        evaluator = FunctionEvaluator(factory, params, _location(name))
        declared(name, evaluator)
        return evaluator
    if name.startswith(("matgl:", "alignn:")):
        params = {"property": _wanted(name), **params}
    _check_params(name, factory, params)
    return _checked(name, _make(name, factory, params))


def _make(name: str, factory: Callable[..., Any], params: Mapping[str, Any]) -> Any:
    try:
        return factory(**params)
    except MatInventError:
        raise
    except Exception as error:
        raise ConfigError(f"property '{name}' with params {dict(params)}: {type(error).__name__}: {error}") from error


def _checked(name: str, evaluator: Any) -> Evaluator:
    """What a factory made, if it is an evaluator of the property."""
    missing = [part for part in ("properties", "version", "params", "evaluate") if not hasattr(evaluator, part)]
    if missing:
        raise ConfigError(
            f"property '{name}': {type(evaluator).__name__} is no evaluator, it lacks {', '.join(missing)}"
        )
    declared(name, evaluator)
    return cast("Evaluator", evaluator)


def resolve(name: str) -> str:
    """Where a property comes from; equal for properties computed by one evaluator.

    Raises:
        ConfigError: there is no such property.
    """
    if name.startswith("program:"):
        return _KINDS["program"]
    if ":" in name:
        return name
    known = {**_plugins(), **_SHIPPED}
    if name not in known:
        hint = nearest(name, sorted(known), n=3)
        raise ConfigError(f"property '{name}' is unknown ({hint}). Your own: 'module:function' or 'file.py:function'")
    return known[name]


def declared(name: str, evaluator: Evaluator) -> PropertyInfo:
    """What an evaluator declares about the property that was asked for as ``name``.

    Raises:
        ConfigError: it does not compute that property, or ``module:function`` leaves open which.
    """
    companions = {info.uncertainty for info in evaluator.properties}
    infos = {info.name: info for info in evaluator.properties if info.name not in companions}
    wanted = _wanted(name)
    if not wanted:
        if len(infos) != 1:
            raise ConfigError(
                f"property '{name}': the evaluator declares {', '.join(infos) or 'nothing'}; one property is needed, "
                f"or register each as an entry point of the group '{GROUP}'"
            )
        return next(iter(infos.values()))
    if wanted not in infos:
        raise ConfigError(f"property '{name}': its evaluator computes {', '.join(infos) or 'nothing'} instead")
    return infos[wanted]


def companion(info: PropertyInfo, evaluator: Evaluator) -> PropertyInfo | None:
    """What an evaluator declares about the uncertainty of one of its properties; None where there is none."""
    return next((other for other in evaluator.properties if other.name == info.uncertainty), None)


def describe() -> list[PropertyInfo]:
    """All shipped and plugged-in properties by name; a plug-in that does not load says why in its description."""
    known = {**_plugins(), **_SHIPPED}
    return [_describe(name) for name in sorted(known)]


def about(name: str) -> PropertyInfo:
    """What is declared about a property.

    A class that declares its properties is asked without making an instance, which may load a model.

    Raises:
        ConfigError: the property is unknown, or its evaluator cannot be made without parameters.
    """
    factory = find_factory(name)
    declares = isinstance(getattr(factory, "properties", None), tuple)
    return declared(name, cast("Evaluator", factory) if declares else create(name, {}))


def find_factory(name: str) -> Callable[..., Any]:
    """What makes the evaluator of a property, or the user's function that is the property.

    Raises:
        ConfigError: the property is unknown, or its factory cannot be imported.
    """
    return load_callable(_location(name), f"property '{name}'")


def _location(name: str) -> str:
    """Where the factory or function of a property is found: ``module:function`` or ``file.py:function``."""
    kind, colon, _ = name.partition(":")
    return _KINDS[kind] if colon and kind in _KINDS else resolve(name)


def _wanted(name: str) -> str:
    """The declared name of the property that is asked for as ``name``; empty where the name leaves it open."""
    kind, colon, wanted = name.partition(":")
    if not colon:
        return name
    return wanted if kind in _KINDS else ""


def _is_function(name: str, factory: Callable[..., Any], params: Mapping[str, Any]) -> bool:
    try:
        return is_property_function(factory, params)
    except ValueError:  # some functions written in C
        raise ConfigError(f"property '{name}': its parameters cannot be told; wrap it in a function of yours") from None


def _describe(name: str) -> PropertyInfo:
    try:
        return about(name)
    except MatInventError as error:
        return PropertyInfo(name, "?", f"cannot be loaded: {error}", (float("-inf"), float("inf")), "instant", "")


def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _check_params(name: str, factory: Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Refuse parameters that the factory does not name, before it is called."""
    signature = inspect.signature(factory)
    try:
        signature.bind(**params)
    except TypeError as error:
        accepted = ", ".join(signature.parameters) or "none"
        hint = "" if isinstance(factory, type) else "; of a function of a structure, params give all but the first"
        raise ConfigError(f"property '{name}': params {dict(params)}: {error} (accepted: {accepted}{hint})") from None
