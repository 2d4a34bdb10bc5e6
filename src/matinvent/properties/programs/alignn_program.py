"""Serve a model of ALIGNN: any that ``alignn.pretrained.get_prediction`` knows and that gives one number.

python alignn_program.py FOLDER_OR_NAME --name band_gap --unit eV --lower 0 --upper 15
"""

from __future__ import annotations

from functools import lru_cache

from matinvent_graph_model import declare, identify, read_arguments, require  # type: ignore[import-not-found]
from matinvent_program import refuse, serve  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FunctionType
    from typing import Any

#: What ``get_prediction`` loads a model with, anew for each crystal; which of these there are depends on the release.
_LOADERS = ("get_figshare_model", "get_figshare_model_pure", "load_pure_torch_model")


def main() -> None:
    """Load the model and serve it."""
    arguments = read_arguments()
    pretrained = require("alignn", "alignn.pretrained")
    atoms = require("jarvis-tools", "jarvis.core.atoms")
    predict_atoms = _keeping_models(pretrained.get_prediction)

    def predict(crystal: dict[str, Any]) -> float:
        structure = atoms.Atoms(
            lattice_mat=crystal["lattice"],
            coords=crystal["frac_coords"],
            elements=crystal["species"],
            cartesian=False,
        )
        (value,) = predict_atoms(model_name=arguments.model, atoms=structure)
        return float(value)

    try:
        predict({"lattice": _SILICON, "species": ["Si", "Si"], "frac_coords": [[0.0] * 3, [0.25] * 3]})
    except Exception as error:  # noqa: BLE001 - whatever keeps the model from working ends the program
        refuse(f"ALIGNN cannot use the model '{arguments.model}': {type(error).__name__}: {error}")
    source = "ALIGNN: Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021)"
    version = identify("alignn", require("alignn", "alignn"), arguments.model)
    serve(predict, declare(arguments, source), version=version)


_SILICON = [[0.0, 2.7, 2.7], [2.7, 0.0, 2.7], [2.7, 2.7, 0.0]]


def _keeping_models(function: FunctionType) -> FunctionType:
    """The function, made to load each model once."""
    names = function.__globals__
    for loader in _LOADERS:
        if loader in names:
            names[loader] = lru_cache(maxsize=None)(names[loader])
    return function


if __name__ == "__main__":
    main()
