"""The notebook, as Jupyter runs it: top to bottom on CPU, shortened; and its saved copy."""

import json
import pathlib
import re

import nbclient
import nbformat
import pytest

import experiments

FOLDER = pathlib.Path(experiments.__file__).parent / "notebooks"
PATH = FOLDER / "tempo_colab_tpu.ipynb"
FIGURES = {"classes", "confusion", "robustness", "use_of_time"}
KINDS = {"multi_view", "tempo_robustness", "use_of_time", "per_frame"}

# Runs in the kernel, after the last cell.
QUESTION = """
import sys
print(json.dumps({
    "classes": best["classes"],
    "probs": best["probs"],
    "sum": float(prediction.probs.sum()),
    "num_frames": prediction.num_frames,
    "windows": line.probs.sum(axis=1).tolist(),
    "trained": {row["name"]: row["top1"] for row in trained},
    "evaluated": {row["name"]: row for row in evaluated},
    "batch_size": config.batch_size,
    "num_devices": jax.device_count(),
    "num_workers": config.data.num_workers,
    "has_tensorflow": "tensorflow" in sys.modules,
    "flags_parsed": flags.FLAGS.is_parsed(),
}))
"""


def saved():
    """The notebook as it lies in the tree."""
    return nbformat.read(PATH, as_version=nbformat.NO_CONVERT)


def files_of(folder):
    """Every file below a folder, with its size; byte code aside."""
    return {
        path: path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def execute(notebook, folder, monkeypatch, **environment):
    """Runs a notebook in an empty folder; the same notebook, now with outputs."""
    home, cwd = folder / "home", folder / "cwd"
    for made in (home, cwd):
        made.mkdir()
    # Jupyter, IPython and the libraries keep files of their own; none may land outside.
    places = {
        "HOME": home,
        "TMPDIR": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "jupyter",
        "JUPYTER_DATA_DIR": home / "jupyter",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "XDG_CACHE_HOME": home / "cache",
        # Training, evaluation and prediction compile much that is the same.
        "JAX_COMPILATION_CACHE_DIR": home / "compiled",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0,
    }
    for name, value in {**places, **environment}.items():
        monkeypatch.setenv(name, str(value))
    client = nbclient.NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(cwd)}}
    )
    client.execute()
    return notebook


def outputs(notebook, cell_id):
    """The outputs of a cell."""
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    return cell.outputs


def printed(notebook, cell_id):
    """What a cell printed."""
    found = [o.text for o in outputs(notebook, cell_id) if o.output_type == "stream"]
    return "".join(found)


def data(notebook, cell_id, kind):
    """Displayed data of one media type, in order."""
    found = [o.data for o in outputs(notebook, cell_id) if o.output_type != "stream"]
    return [d[kind] for d in found if kind in d]


def test_runs_from_top_to_bottom_on_cpu(tmp_path, monkeypatch):
    before = files_of(FOLDER)
    notebook = saved()
    notebook.cells.append(nbformat.v4.new_code_cell(QUESTION, id="question"))
    execute(notebook, tmp_path, monkeypatch, TEMPO_NOTEBOOK_SHORT="1")
    answer = json.loads(printed(notebook, "question"))
    run = tmp_path / "cwd" / "runs" / "notebook_short"

    # Every device is shown and trained on.
    assert printed(notebook, "devices").count(": cpu, cpu") == answer["num_devices"] > 1
    assert answer["batch_size"] % answer["num_devices"] == 0
    assert answer["num_workers"] == 0 and answer["flags_parsed"]
    assert not answer["has_tensorflow"]

    # The restored checkpoint has the accuracy that training ended with.
    rows = {row["name"]: row for row in json.loads((run / "results.json").read_text())}
    assert rows.keys() == KINDS | {"single_view"}
    assert answer["evaluated"].keys() == KINDS
    assert all(row["num_videos"] == 14 for row in rows.values())
    assert answer["evaluated"]["multi_view"]["top1"] == answer["trained"]["multi_view"]
    assert len(answer["evaluated"]["tempo_robustness"]["curve"]) == 8
    assert "logits (1, 14), finite: True" in printed(notebook, "load")

    # The video is shown; what is predicted of it is a distribution, best class first.
    assert "<video" in data(notebook, "video", "text/html")[0]
    assert len(answer["classes"]) == len(set(answer["classes"])) == 5
    assert answer["probs"] == sorted(answer["probs"], reverse=True)
    assert answer["sum"] == pytest.approx(1, abs=1e-5)
    assert answer["num_frames"] == 64
    assert len(answer["windows"]) > 3 and answer["windows"] == pytest.approx(
        [1] * len(answer["windows"]), abs=1e-5
    )
    assert all(name in printed(notebook, "predict") for name in answer["classes"])
    assert len(data(notebook, "predict", "image/png")) == 1

    # Every figure of the report is shown, with its caption.
    figures = {path.stem for path in (run / "report").glob("*.png")}
    assert figures >= FIGURES
    assert len(data(notebook, "figures", "image/png")) == len(figures)
    assert len(data(notebook, "figures", "text/markdown")) == len(figures)
    assert (run / "report" / "index.html").stat().st_size > 10_000

    # Nothing lies beside the notebook, or in its working folder but for RUNS.
    assert files_of(FOLDER) == before
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == ["runs"]


def test_without_tempo_it_says_what_to_set(tmp_path, monkeypatch):
    notebook = saved()
    ids = [cell.id for cell in notebook.cells]
    del notebook.cells[ids.index("install") + 1 :]
    hide = "import importlib.util; importlib.util.find_spec = lambda name: None"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(hide, id="hide"))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="set SOURCE, and run from"):
        execute(notebook, tmp_path, monkeypatch)


def test_a_source_without_recipes_is_refused(tmp_path, monkeypatch):
    notebook = saved()
    ids = [cell.id for cell in notebook.cells]
    del notebook.cells[ids.index("install") + 1 :]
    (tmp_path / "empty").mkdir()
    given = f"SOURCE = {str(tmp_path / 'empty')!r}\n%alias_magic pip lsmagic"
    notebook.cells.insert(ids.index("parameters") + 1, nbformat.v4.new_code_cell(given, id="given"))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"configs/quickstart\.py"):
        execute(notebook, tmp_path, monkeypatch)


def test_saved_copy_is_clean():
    text = PATH.read_text()
    notebook = saved()
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
        # Named, so that they stay the same from one save to the next.
        assert re.fullmatch("[a-z]+(-[a-z]+)*", cell.id)
    # What belongs to one machine: its paths, its Python, an account's ids.
    assert not re.search(r"/home/|/root|/tmp|/work|/Users|/content|userId|executionInfo", text)
    assert "version" not in notebook.metadata.language_info
    # As Jupyter writes it, so that saving it again changes what was edited only.
    assert text == nbformat.writes(notebook) + "\n"


def test_it_asks_colab_for_a_tpu_and_leaves_jax_as_it_is():
    notebook = saved()
    assert notebook.metadata.accelerator == "TPU"
    assert notebook.metadata.colab.gpuType == "V5E1"
    assert notebook.metadata.kernelspec.name == "python3"
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "tensorflow" not in code and "jax[tpu]" not in code
    # Another process could not have the chip.
    assert not re.search(r"^\s*!\s*python", code, re.MULTILINE)
    (parameters,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    values = {}
    exec(parameters.source, values)
    assert {k: values[k] for k in ("SOURCE", "RUNS", "WORKERS", "SHORT")} == {
        "SOURCE": "", "RUNS": "runs", "WORKERS": 0, "SHORT": False,
    }  # fmt: skip
