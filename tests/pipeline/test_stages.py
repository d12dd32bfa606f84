"""dvc.yaml is held to what the code reads: every parameter and module that a stage uses, and none besides."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from backbeat.dataset import PIPELINE_TASKS

ROOT = Path(__file__).resolve().parents[2]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGES = sorted(DVC["stages"])

#: Modules whose change alone cannot change what a stage makes: ground, messages and bookkeeping.
GROUND = {
    "backbeat",
    "backbeat.errors",
    "backbeat.files",
    "backbeat.tracking",
    "backbeat.model",
    "backbeat.music",
    "backbeat.audio",
}
#: Sections that decide where things go, not what they are.
PLACES = {"paths", "tracking"}


def body(stage: str) -> dict[str, Any]:
    entry: dict[str, Any] = DVC["stages"][stage]
    return entry.get("do", entry)


def module(stage: str) -> ast.Module:
    return ast.parse((ROOT / "pipelines" / f"{stage}.py").read_text())


def sections_read(stage: str) -> set[str]:
    """Names of the sections of the configuration that a stage's code touches; `corpus.name` comes from its command."""
    found = set()
    for node in ast.walk(module(stage)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config":
            found.add(node.attr)
        if isinstance(node, ast.Tuple):
            values = [element.value for element in node.elts if isinstance(element, ast.Constant)]
            found |= {value for value in values if value in {"task", "trainer", "features"}}
    names = {
        node.value.attr
        for node in ast.walk(module(stage))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name)
        and node.value.value.id == "config"
        and node.value.attr == "corpus"
        and node.attr == "name"
    }
    whole = {
        node.args[-1].attr
        for node in ast.walk(module(stage))
        if isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[-1], ast.Attribute)
        and isinstance(node.args[-1].value, ast.Name)
        and node.args[-1].value.id == "config"
    }
    return found - (names - whole) - PLACES


def params_declared(stage: str) -> set[str]:
    """Sections that a stage's params cover, from the files of conf/ that they name."""
    found = set()
    for entry in body(stage).get("params", []):
        part = Path(name := next(iter(entry))).parts
        assert part[0] == "conf", name
        if part[1] == "monitoring":
            found.add(Path(name).stem)
        elif part[1] != "experiment":
            found.add(part[1])
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_those_that_the_code_reads(stage: str) -> None:
    read = sections_read(stage)
    if stage == "train":
        read.discard("features")  # recorded with the run; what training reads is the feature store's own index
    if stage == "evaluate":
        read.discard("task")  # its name alone, from the command
    assert params_declared(stage) == read


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_a_dependency(stage: str) -> None:
    imported = set()
    for node in ast.walk(module(stage)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("backbeat"):
            imported.add(node.module)
    deps = [str(dep).replace("${key}", task) for dep in body(stage)["deps"] for task in PIPELINE_TASKS]
    for name in sorted(imported - GROUND):
        path = "src/" + name.replace(".", "/")
        assert any(path == dep or f"{path}.py" == dep or path.startswith(f"{dep}/") for dep in deps), name


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_on_code_exist(stage: str) -> None:
    for dep in body(stage)["deps"]:
        for task in PIPELINE_TASKS:
            path = str(dep).replace("${key}", task)
            if path.startswith(("src/", "pipelines/")):
                assert (ROOT / path).exists(), path


@pytest.mark.parametrize("experiment", ["demo", "smoke", "full"])
@pytest.mark.parametrize("task", PIPELINE_TASKS)
def test_every_experiment_composes_for_every_task(experiment: str, task: str) -> None:
    from backbeat.training import TrainerSettings, settings_class
    from pipelines.settings import completed, read

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", [f"task={task}", f"experiment={experiment}"])
    config = completed(config)
    settings = read(settings_class(task), config.task)
    assert settings.name == task
    assert settings.optimisation.epochs >= 1
    assert config.corpus.tracks >= 1
    assert read(TrainerSettings, config.trainer).seed >= 0


def leaves(values: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {path: values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= leaves(value, f"{path}.{name}".lstrip("."))
    return found


def test_no_parameter_lives_in_two_places() -> None:
    """What an experiment sets stands in no other file, and every experiment sets the same."""
    experiments = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "conf/experiment").iterdir()}
    for part, settings in experiments["demo"].items():
        file = ROOT / "conf" / ("task" if part in PIPELINE_TASKS else "corpus") / f"{part}.yaml"
        assert not set(leaves(settings)) & set(leaves(yaml.safe_load(file.read_text()))), part
        for name, other in experiments.items():
            assert set(leaves(other[part])) == set(leaves(settings)), f"{name}: {part}"
    assert not set(PARAMS) & {"task", "trainer", "features", "tracking"}


def files_of_parameters() -> list[Path]:
    """Every file of conf/ that a stage names as parameters, for all kinds, tasks and experiments."""
    names = {next(iter(entry)) for stage in STAGES for entry in body(stage).get("params", [])}
    patterns = {re.sub(r"\$\{.*?\}", "*", name) for name in names}
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


@pytest.mark.parametrize("path", files_of_parameters(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_parameter_is_set_by_dvc_and_nothing_else_changes(path: Path, tmp_path: Path) -> None:
    """`dvc exp run -S FILE:name=value` reads and writes a file alone: it may refer to no other, nor leave gaps."""
    from dvc.utils.hydra import apply_overrides

    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    before = leaves(yaml.safe_load(path.read_text()))
    name = next(name for name, value in before.items() if isinstance(value, float | int | str))
    apply_overrides(str(copy), [f"{name}=7"])
    assert leaves(yaml.safe_load(copy.read_text())) == {**before, name: 7}


def test_what_the_command_line_says_goes_before_the_experiment() -> None:
    from pipelines.settings import completed

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = completed(compose("config", ["task=genre", "+task.optimisation.epochs=3", "corpus=folder"]))
    assert config.task.optimisation.epochs == 3
    assert "tracks" not in config.corpus


def test_a_typing_error_in_a_setting_is_refused_by_name() -> None:
    from backbeat.errors import ConfigError
    from backbeat.training import TrainerSettings
    from pipelines.settings import read

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["+trainer.sede=3"])
    with pytest.raises(ConfigError, match="has no setting 'sede'"):
        read(TrainerSettings, config.trainer)
    config = compose_with("trainer.threads=many")
    with pytest.raises(ConfigError, match=r"TrainerSettings\.threads"):
        read(TrainerSettings, config.trainer)


@pytest.mark.parametrize("name", ["", "..", "../../elsewhere", "a/b", ".hidden", "/"])
def test_a_corpus_cannot_be_called_what_leads_elsewhere(name: str) -> None:
    from backbeat.errors import ConfigError
    from pipelines.settings import completed

    config = compose_with("corpus=stems")
    config.corpus.name = name
    with pytest.raises(ConfigError, match=r"corpus\.name"):
        completed(config)


def test_settings_of_a_corpus_have_their_types(tmp_path: Path) -> None:
    from backbeat.errors import ConfigError
    from pipelines.corpus import make
    from pipelines.settings import completed, plain

    with pytest.raises(ConfigError, match=r"corpus\.source"):
        completed(compose_with("corpus=stems", "corpus.source=null"))
    for setting in ("corpus.seed=x", "corpus.channels=vocals", "corpus.group_pattern=[a]"):
        settings = plain(compose_with("corpus=stems", setting).corpus)
        for name in ("kind", "name", "source"):
            settings.pop(name)
        with pytest.raises(ConfigError, match=setting.partition("=")[0]):
            make("stems", tmp_path / "corpus", tmp_path, settings)


def compose_with(*overrides: str) -> Any:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", list(overrides))
    OmegaConf.resolve(config.trainer)
    return config
