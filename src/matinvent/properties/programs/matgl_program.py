"""Serve a model of matgl: any that ``matgl.load_model`` gives and that predicts one number of a structure.

python matgl_program.py FOLDER_OR_NAME --name formation_energy --unit eV/atom --lower=-10 --upper=10
"""

from __future__ import annotations

from matinvent_graph_model import declare, identify, read_arguments, require  # type: ignore[import-not-found]
from matinvent_program import refuse, serve  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Load the model and serve it."""
    arguments = read_arguments()
    matgl = require("matgl", "matgl")
    structures = require("pymatgen", "pymatgen.core")
    try:
        model = matgl.load_model(arguments.model)
    except Exception as error:  # noqa: BLE001 - whatever keeps the model from loading ends the program
        refuse(f"matgl cannot load the model '{arguments.model}': {error}")
    model.eval()

    def predict(crystal: dict[str, Any]) -> float:
        structure = structures.Structure(crystal["lattice"], crystal["species"], crystal["frac_coords"])
        return float(model.predict_structure(structure))

    source = "matgl: Ko et al., npj Comput. Mater. 11, 253 (2025)"
    serve(predict, declare(arguments, source), version=identify("matgl", matgl, arguments.model))


if __name__ == "__main__":
    main()
