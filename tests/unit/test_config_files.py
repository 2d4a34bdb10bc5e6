"""Campaign files: what is refused, how it is said, and that nothing is lost in YAML."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from matinvent.config import CampaignConfig, DiversityConfig, GeneratorConfig, LearningConfig, StageConfig, StopConfig
from matinvent.config_files import apply_override, build_config, file_schema, load_config
from matinvent.config_goals import ObjectiveConfig
from matinvent.errors import ConfigError

MINIMAL = {"name": "test", "objectives": [{"property": "density", "kind": "maximize", "lo": 0, "hi": 20}]}


@pytest.fixture
def campaign_file(tmp_path):
    def write(text: str):
        path = tmp_path / "campaign.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learning.sigm=1", r"unknown key 'learning.sigm' \(did you mean 'sigma'\?\)"),
        ("objectives.0.tarjet=1", r"did you mean 'target'\?"),
        ("screening.relaxation.fmx=1", r"did you mean 'fmax'\?"),
        ("start.crystalls=[a]", r"unknown key 'start.crystalls' \(did you mean 'crystals'\?\)"),
        ("start.prior=agent", r"prior 'agent' needs an agent"),
        ("stages=[{name: a/b, iterations: 1}]", r"'stages.0.name'"),
        (
            "stages=[{name: a, iterations: 1, constraints: {elements: []}}]",
            r"unknown key 'stages.0.constraints.elements'",
        ),
        ("stop.plateau=0", r"'stop.plateau'"),
        ("itertions=5", r"did you mean 'iterations'\?"),
        ("iterations=many", "'iterations': .*integer.*given: 'many'"),
        ("objectives=3", "'objectives': should be a list .given: 3"),
        ("stop=3", "'stop': should be a mapping of settings"),
        ("constraints.forbidden=[No]", "YAML takes No, Yes, On and Off for truth values: quote them"),
        ("stages=[{name: a, iterations: 1, stop: null}]", "'stages.0': stop: null means nothing here"),
        ("iterations=0", "'iterations': .*greater than or equal to 1"),
        ("iterations=2.5", "'iterations'"),
        ("learning.learning_rate=.nan", "'learning.learning_rate'"),
        ("objectives.0.hi=-1", r"hi \(-1.0\) must be greater than lo \(0.0\)"),
        ("objectives.0.hi=.inf", "'objectives.0.hi'"),
        ("objectives.0.weight=0", "'objectives.0.weight'"),
        ("objectives.0.kind=target", "'target' must be given exactly when kind is 'target'"),
        ("objectives.0.target=3", "'target' must be given exactly when kind is 'target'"),
        ("objectives=[]", "'objectives'"),
        ("diversity.limit=2", r"limit \(2\) must be greater than tolerance \(6\)"),
        ("generator={templates: {min_atoms: 9, max_atoms: 4}}", r"min_atoms \(9\) must not exceed max_atoms \(4\)"),
        ("learning.lambda=0.5", "'learning.lambda'"),
        ("learning.divergence=mse", "'learning.divergence'"),
        ("seed=-1", "'seed'"),
        ("name=../escape", "'name'"),
        ("screening=yes please", "'screening'"),
    ],
)
def test_bad_values_are_refused_with_the_key_and_the_expectation(override, said):
    with pytest.raises(ConfigError, match=said):
        build_config(MINIMAL, [override])


def test_one_fault_gives_one_complaint():
    with pytest.raises(ConfigError) as caught:
        build_config(MINIMAL, ["objectives.0.hi=-1"])
    assert ";" not in str(caught.value)


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError, match=r"iterations.*; .*sigm"):
        build_config(MINIMAL, ["iterations=0", "learning.sigm=1"])


def test_missing_keys_are_named():
    with pytest.raises(ConfigError, match=r"'name' is required; 'objectives' is required"):
        build_config({})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "not valid YAML"),
        ("- a\n- b", "expected a mapping of settings, found list"),
        ("", "the file is empty"),
        ("name: a\nlearning: {sigma: 1, sigma: 2}", "'sigma' is given twice"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_files_that_are_no_campaign(campaign_file, text, said):
    with pytest.raises(ConfigError, match=said):
        load_config(campaign_file(text))


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "binary.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    "override",
    ["sigma", "=1", "a..b=1", "learning.sigma.deeper=1", "objectives.7.lo=1", "stages.0.iterations=3", "seed=[1"],
)
def test_malformed_overrides(override):
    data = {**MINIMAL, "learning": {"sigma": 0.1}}
    with pytest.raises(ConfigError, match="--set"):
        apply_override(data, override)


def test_overrides_reach_into_lists_and_leave_their_input_alone():
    data = json.loads(json.dumps(MINIMAL))
    changed = apply_override(data, "objectives.0.hi=30")
    assert changed["objectives"][0]["hi"] == 30
    assert data == MINIMAL


def test_exponents_without_a_point_are_numbers():
    # YAML 1.1 reads 1e-4 as text.
    assert build_config(MINIMAL, ["learning.learning_rate=1e-4"]).learning.learning_rate == 1e-4


def test_a_property_may_not_be_named_twice():
    twice = {**MINIMAL, "objectives": MINIMAL["objectives"] * 2}
    with pytest.raises(ConfigError, match="name a property twice: density"):
        build_config(twice)


def test_iterations_of_a_campaign_of_stages_are_those_of_its_stages():
    staged = {**MINIMAL, "stages": [{"name": "a", "iterations": 2}]}
    with pytest.raises(ConfigError, match="stages have iterations of their own"):
        build_config(staged, ["iterations=3"])
    assert build_config(staged, ["stages.0.iterations=3"]).total_iterations == 3


def test_the_schema_describes_what_the_loader_accepts():
    schema = file_schema()
    assert schema["additionalProperties"] is False
    assert "required" not in schema, "a file may build on a shipped task"
    assert schema["properties"]["base"]["type"] == "string"
    assert set(schema["$defs"]["ObjectiveConfig"]["required"]) == {"property", "kind", "hi"}
    crystals = schema["$defs"]["StartConfig"]["properties"]["crystals"]
    assert [form["type"] for form in crystals["anyOf"]] == ["string", "array"]
    assert set(schema["$defs"]["StageConfig"]["required"]) == {"name", "iterations"}
    assert "lambda" in schema["$defs"]["LearningConfig"]["properties"]


def finite(low: float = -1e6, high: float = 1e6) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


@st.composite
def objectives(draw: st.DrawFn, name: str) -> ObjectiveConfig:
    kind = draw(st.sampled_from(["maximize", "minimize", "target"]))
    lo = draw(finite(0.0 if kind == "target" else -1e6))
    return ObjectiveConfig(
        property=name,
        kind=kind,
        target=draw(finite()) if kind == "target" else None,
        lo=lo,
        hi=lo + draw(finite(1e-3, 1e6)),
        weight=draw(finite(1e-6)),
        params=draw(
            st.dictionaries(st.text(max_size=5), finite() | st.integers() | st.booleans() | st.text(max_size=9))
        ),
    )


@st.composite
def stages(draw: st.DrawFn, name: str) -> StageConfig:
    given: dict[str, object] = {"name": name, "iterations": draw(st.integers(1, 99))}
    if draw(st.booleans()):
        given["objectives"] = (draw(objectives(draw(st.sampled_from(["density", "hhi"])))),)
    if draw(st.booleans()):
        given["stop"] = StopConfig(hits=draw(st.none() | st.integers(1, 9)))
    if draw(st.booleans()):
        given["aggregation"] = draw(st.sampled_from(["product", "chebyshev"]))
    return StageConfig.model_validate(given)


@st.composite
def campaigns(draw: st.DrawFn) -> CampaignConfig:
    names = draw(st.lists(st.sampled_from(["density", "hhi", "price", "no", "1e5"]), min_size=1, unique=True))
    tolerance = draw(st.integers(0, 9))
    return CampaignConfig(
        name=draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,9}\Z")),
        description=draw(st.text(max_size=30)),
        seed=draw(st.integers(0, 2**32 - 1)),
        objectives=tuple(draw(objectives(name)) for name in names),
        aggregation=draw(st.sampled_from(["weighted_mean", "geometric_mean", "product", "min"])),
        generator=GeneratorConfig(guidance=draw(st.none() | finite(0, 10))),
        diversity=DiversityConfig(tolerance=tolerance, limit=tolerance + draw(st.integers(1, 9))),
        learning=LearningConfig.model_validate({"learning_rate": draw(finite(1e-9, 1)), "lambda": draw(finite(1, 9))}),
        stop=StopConfig(mean_reward=draw(st.none() | finite(0, 1))),
        stages=tuple(draw(stages(name)) for name in draw(st.lists(st.sampled_from("abc"), unique=True))),
    )


@given(campaigns())
def test_yaml_gives_back_an_equal_campaign(config):
    again = build_config(yaml.safe_load(config.to_yaml()))
    assert again == config
    assert again.by_stage() == config.by_stage()
