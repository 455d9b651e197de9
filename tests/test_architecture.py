"""The house rules that a parser can hold: who imports whom, and who owns which dependency."""

import ast
import pathlib
import subprocess
import sys

import pytest

import tempo

ROOT = pathlib.Path(tempo.__file__).parent

# Package -> parts of tempo that it may import. Later rows may import earlier ones.
ALLOWED = {
    "version": set(),
    "errors": set(),
    "files": set(),
    "piecewise": set(),
    "program_cache": {"errors"},
    "command_line": {"errors"},
    "types": {"errors"},
    "cycles": {"errors"},
    "multigrid": {"errors", "types", "cycles"},
    "protocols": {"errors", "types"},
    "papers": {"errors"},
    "trees": {"types"},
    "layers": {"errors", "types", "trees"},
    "models": {"errors", "types", "trees", "layers"},
    "task": {"errors", "types", "trees", "models"},
    "optim": {"errors", "types", "trees"},
    "state": {"types", "trees"},
    "flow": {"errors"},
    "data": {"version", "errors", "types", "files", "flow"},
    "sharding": {"errors", "types", "trees"},
    "checkpoint": {"errors", "files", "trees"},
    "metric_writer": {"files"},
    "progress": {"types"},
    "watchdog": {"errors", "types"},
    "analysis": {"errors", "files"},
    "evaluators": {
        "errors", "types", "files", "analysis", "data", "multigrid", "sharding", "task",
    },
    "recipe": {
        "errors", "types", "evaluators", "models", "multigrid", "optim", "protocols", "sharding",
        "task",
    },
    "stages": {"errors"},
    "streams": {"errors", "types", "models", "data", "recipe"},
    "explain": {"errors", "types", "data", "evaluators", "recipe"},
    "experiment": {
        "version", "errors", "types", "files", "layers", "models", "cycles", "multigrid", "data",
        "checkpoint", "optim", "recipe", "sharding", "stages", "streams", "task",
    },
    "explain_schedule": {
        "errors", "types", "data", "experiment", "multigrid", "optim", "recipe", "stages",
    },
    "pretrained": {
        "version", "errors", "types", "layers", "models", "data", "checkpoint", "progress",
        "recipe", "streams",
    },
    "convert": {
        "errors", "types", "trees", "files", "layers", "models", "protocols", "papers",
        "checkpoint", "pretrained",
    },
    "init_plan": {"errors", "trees"},
    "init_from": {
        "errors", "types", "trees", "layers", "models", "convert", "checkpoint", "init_plan",
        "pretrained", "recipe", "stages", "streams",
    },
    "evaluate": {
        "errors", "files", "data", "checkpoint", "evaluators", "experiment", "models", "pretrained",
        "program_cache", "progress", "recipe", "sharding", "state",
    },
    "peaks": {"errors"},
    "machine": set(),
    "doctor": {
        "version", "errors", "command_line", "machine", "data", "layers", "peaks", "program_cache",
    },
    "step": {"types", "optim", "sharding", "state", "task"},
    "trainable": {
        "types", "layers", "data", "experiment", "multigrid", "optim", "piecewise",
        "sharding", "state", "step",
    },
    "batch_size": {
        "errors", "types", "layers", "machine", "models", "experiment", "sharding", "trainable",
    },
    "loop": {"types", "progress", "sharding", "state", "step", "watchdog"},
    "programs": {"errors", "types", "progress", "state", "step"},
    "train": {
        "errors", "types", "data", "checkpoint", "evaluate", "experiment", "init_from", "loop",
        "metric_writer", "multigrid", "optim", "pretrained", "program_cache", "programs",
        "progress", "recipe", "sharding", "state", "step", "trainable", "watchdog",
    },
    "staged": {
        "errors", "files", "checkpoint", "experiment", "init_from", "progress", "recipe",
        "sharding", "stages", "train",
    },
    "splits": {
        "errors", "files", "checkpoint", "evaluate", "experiment", "progress", "sharding", "staged",
        "stages",
    },
    "prediction": {
        "errors", "types", "data", "evaluators", "pretrained", "protocols", "recipe", "streams",
        "task",
    },
    "predict": {"errors", "command_line", "analysis", "prediction", "program_cache"},
    "processes": {"errors", "command_line"},
    "main": {
        "errors", "batch_size", "command_line", "models", "processes", "train", "evaluate",
        "explain", "explain_schedule", "recipe", "splits", "staged", "stages", "streams",
    },
    "prepare": {"errors", "types", "data"},
    "ensemble": {"version", "errors", "command_line", "files", "analysis"},
    "report": {"version", "errors", "command_line", "files", "analysis", "checkpoint"},
    "__init__": {"version"},
}  # fmt: skip

# Dependency -> the only files that may import it (folders end with a slash).
OWNERS = {
    "orbax": ["checkpoint.py"],
    "av": ["data/"],
    "cv2": ["data/"],
    "simplejpeg": ["data/"],
    "grain": ["data/"],
    "tensorflow_datasets": ["data/"],
    "ml_collections": [
        "main.py", "train.py", "evaluate.py", "experiment.py", "recipe.py", "staged.py",
        "stages.py",
    ],
    "tensorboard": ["metric_writer.py"],
    "matplotlib": ["analysis/figures/"],
    "sklearn": ["analysis/embedding.py"],
    "absl": [
        "main.py", "prepare.py", "train.py", "evaluate.py", "metric_writer.py", "watchdog.py",
        "evaluators/", "data/",
    ],
    "safetensors": ["convert/tensor_files.py"],
    "torch": [],
    "tensorflow": [],
    "decord": [],
}  # fmt: skip


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "tempo":
                yield from (f"tempo.{alias.name}" for alias in node.names)


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    relative = path.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("tempo.")}
    assert parts - {part} <= ALLOWED[part]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_dependency_has_an_owner(path):
    relative = str(path.relative_to(ROOT))
    for name in imports(path):
        owners = OWNERS.get(name.split(".")[0])
        if owners is not None:
            assert any(
                relative == o or (o.endswith("/") and relative.startswith(o)) for o in owners
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_says_what_it_is_and_is_one_idea(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "no docstring"
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 60, f"{node.name} is too long"


def test_layers_and_models_need_only_jax_flax_and_chex():
    third_party = {
        name.split(".")[0]
        for part in ("layers", "models")
        for path in (ROOT / part).rglob("*.py")
        for name in imports(path)
    } - set(sys.stdlib_module_names)
    assert third_party <= {"tempo", "jax", "flax", "chex", "numpy"}


def test_importing_tempo_is_light():
    code = "import sys, tempo; print(sorted({'jax', 'av', 'grain', 'orbax'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert tempo.list_models("tpn_slowonly_r5*") == ["tpn_slowonly_r50"]


def test_analysis_runs_no_network():
    modules = "tempo.analysis.scores, tempo.analysis.members, tempo.ensemble"
    code = f"import sys, {modules}; print(sorted({{'jax', 'flax'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
