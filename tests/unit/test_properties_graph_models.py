"""Models of matgl and ALIGNN: their programs against stand-ins with the packages' interfaces."""

from __future__ import annotations

import sys
import textwrap

import pytest
from pymatgen.core import Lattice, Structure

from matinvent.errors import ConfigError, Failure
from matinvent.properties.registry import create, declared

SILICON = Structure(Lattice.cubic(5.43), ["Si"] * 2, [[0, 0, 0], [0.25, 0.25, 0.25]])

#: matgl 4: load_model(path) gives a torch module with predict_structure(structure) -> tensor without dimensions.
MATGL = {
    "matgl/__init__.py": """
        import json, pathlib
        __version__ = "4.1.2"
        print("matgl greets")  # libraries print; the protocol must bear it

        class Scalar:
            def __init__(self, value): self.value = value
            def __float__(self): return float(self.value)

        class Model:
            def __init__(self, scale): self.scale, self.ready = scale, False
            def eval(self): self.ready = True; return self
            def predict_structure(self, structure):
                assert self.ready
                if "He" in structure.symbol_set: raise RuntimeError("element He is not known")
                return Scalar(self.scale * structure.volume / len(structure))

        def load_model(path, **kwargs):
            file = pathlib.Path(path) / "model.json"
            if not file.exists(): raise ValueError("Bad serialized model or bad model name.")
            return Model(json.loads(file.read_text())["scale"])
    """
}

#: ALIGNN: get_prediction(model_name, atoms) -> list of numbers; loads the model anew by a function beside it.
ALIGNN = {
    "alignn/__init__.py": "__version__ = '2026.8.11'",
    "alignn/pretrained.py": """
        loaded = []
        def get_figshare_model(model_name="jv_formation_energy_peratom_alignn"):
            print("Using chk file", model_name)
            if model_name != "mp_gappbe_alignn": raise KeyError(model_name)
            loaded.append(model_name)
            return lambda atoms: [abs(atoms.lattice_mat[0][0]) + len(atoms.elements) + 100.0 * (len(loaded) - 1)]
        def get_prediction(model_name="jv_formation_energy_peratom_alignn", atoms=None, cutoff=8, max_neighbors=12):
            return get_figshare_model(model_name)(atoms)
    """,
    "jarvis/__init__.py": "",
    "jarvis/core/__init__.py": "",
    "jarvis/core/atoms.py": """
        class Atoms:
            def __init__(self, lattice_mat=None, coords=None, elements=None, props=None, cartesian=False):
                assert not cartesian
                self.lattice_mat, self.frac_coords, self.elements = lattice_mat, coords, elements
    """,
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make packages that external Pythons can import."""

    def installed(files):
        for name, source in files.items():
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    return installed


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "model.json").write_text('{"scale": 2.0}')
    return folder


def test_a_matgl_model_from_a_folder(install, model):
    install(MATGL)
    params = {"model": str(model), "unit": "A^3", "bounds": [0, 500], "python": sys.executable}
    evaluator = create("matgl:double_volume", params)
    info = declared("matgl:double_volume", evaluator)
    assert (info.name, info.unit, info.bounds) == ("double_volume", "A^3", (0.0, 500.0))
    assert "my-model" in info.description
    helium = Structure(Lattice.cubic(4), ["He"], [[0, 0, 0]])
    large = Structure(Lattice.cubic(10), ["Si"], [[0, 0, 0]])
    good, unknown, outside = evaluator.evaluate([SILICON, helium, large])
    evaluator.close()
    assert good == {"double_volume": pytest.approx(5.43**3)}
    assert unknown == Failure("failed", "RuntimeError: element He is not known")
    assert outside.kind == "out-of-bounds"


def test_another_model_in_the_same_folder_is_another_version(install, model):
    install(MATGL)
    versions = []
    for scale in (2.0, 3.0):
        (model / "model.json").write_text(f'{{"scale": {scale}}}')
        evaluator = create("matgl:v", {"model": str(model), "unit": "A^3"})
        versions.append(evaluator.version)
        evaluator.close()
    assert versions[0] != versions[1]
    assert all(version.startswith("matgl-4.1.2-") for version in versions)


def test_an_alignn_model_by_name_is_loaded_once(install):
    install(ALIGNN)
    evaluator = create("alignn:band_gap", {"model": "mp_gappbe_alignn", "unit": "eV"})
    results = evaluator.evaluate([SILICON] * 3)
    evaluator.close()
    assert results == [{"band_gap": pytest.approx(5.43 + 2)}] * 3
    assert evaluator.params == {"property": "band_gap", "model": "mp_gappbe_alignn", "unit": "eV"}


@pytest.mark.parametrize("package", ["matgl", "alignn"])
def test_a_missing_package_is_named_with_the_remedy(package):
    with pytest.raises(ConfigError) as error:
        create(f"{package}:x", {"model": "m", "unit": "1"})
    assert f"pip install {package}" in str(error.value)
    assert "params: {python: ...}" in str(error.value)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("matgl:x", {"model": "no-such-model", "unit": "1"}, "cannot load the model 'no-such-model'"),
        ("alignn:x", {"model": "no-such-model", "unit": "1"}, "cannot use the model 'no-such-model': KeyError"),
        ("matgl:x", {"model": "m"}, "missing a required argument: 'unit'"),
        ("matgl:x", {"model": "m", "unit": "1", "bounds": [1]}, "must be two numbers"),
        ("matgl:x", {"model": "m", "unit": "1", "python": "/no/python"}, "command not found: /no/python"),
        ("matgl:a b", {"model": "m", "unit": "1"}, "matgl"),
    ],
)
def test_faulty_requests_are_refused(install, name, params, message):
    install({**MATGL, **ALIGNN})
    with pytest.raises(ConfigError, match=message):
        create(name, params)
