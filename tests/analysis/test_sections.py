"""Sections for videos of other kinds of labels: several groups of classes, any number of labels."""

import json

import numpy as np
import pytest

from tempo.analysis import compared, sections, tempo
from tests import score_files

NOUNS = np.tile([3, 4], 6)
JOINT = {
    "class_names": ["open", "close", "wash", "door", "cup"],
    "label_kind": "joint",
    "label_groups": json.dumps({"verb": 3, "noun": 2}),
}


def joint_probs(verbs, nouns):
    """Right verbs and right nouns, for the videos listed."""
    noun = score_files.probs(nouns, NOUNS - 3, 2)
    return np.concatenate([score_files.probs(verbs), noun], axis=1)


def made(workdir, **changed):
    found = compared.load(score_files.write(workdir, **changed))
    return {s.key: s for s in (make(found) for make in sections.SECTIONS)}


def test_groups_of_classes_and_labels_that_are_not_known(tmp_path):
    label = np.stack([score_files.LABELS, NOUNS], axis=1)
    label[0, 1] = -1  # its verb counts, its noun and the pair do not
    label[:, 1] = np.where(label[:, 1] < 0, -1, NOUNS)
    found = made(
        tmp_path, kinds=["multi_view"], label=label, probs=joint_probs(range(10), range(6)), **JOINT
    )
    [table] = [b for b in found["accuracy"].blocks if getattr(b, "key", "") == "runs"]
    rows = {r["metric"]: (r["value"], r["videos"]) for r in table.rows}
    assert rows["verb top-1"] == (pytest.approx(10 / 12), 12)
    assert rows["noun top-1"] == (pytest.approx(5 / 11), 11)
    assert rows["top-1"] == (pytest.approx(5 / 11), 11)
    names = {figure.name for s in found.values() for figure in s.figures}
    assert {"classes_verb", "classes_noun", "confusion_verb", "confusion_noun"} <= names
    assert np.sum(found["confusion"].numbers["counts_noun"]) == 11


def test_videos_with_any_number_of_labels(tmp_path):
    label = np.eye(3, dtype=np.uint8)[score_files.LABELS]
    label[:4, 2] = 1
    kinds = ["multi_view", "tempo_robustness", "use_of_time"]
    found = made(tmp_path, kinds=kinds, label=label, label_kind="multi")
    [table] = [b for b in found["accuracy"].blocks if getattr(b, "key", "") == "runs"]
    assert [r["metric"] for r in table.rows] == ["mAP"] and 0.4 < table.rows[0]["value"] <= 1
    assert found["confusion"].numbers == {"not_applicable": True}
    assert [r["at"] for r in found["robustness"].blocks[0].rows] == list(score_files.STRIDES)
    assert [r["at"] for r in found["use_of_time"].blocks[0].rows] == list(score_files.VARIANTS)
    assert len(found["classes"].blocks[0].rows) == 3


def test_runs_measured_in_other_ways_are_marked(tmp_path):
    run = score_files.write(tmp_path / "run", ["multi_view"])
    base = score_files.write(tmp_path / "base", ["multi_view"], protocol="1 clip")
    found = compared.load(run, base)
    warnings = [b for b in sections.SECTIONS[0](found).blocks if type(b).__name__ == "Warn"]
    assert len(warnings) == 1 and "not measured alike" in warnings[0].text


def test_scores_of_several_checkpoints_are_marked(tmp_path):
    run = score_files.write(tmp_path / "run", ["multi_view"])
    score_files.write(run, ["use_of_time"], checkpoint_step=7)
    last = sections.SECTIONS[-1](compared.load(run))
    assert any("several checkpoints (steps 7, 560)" in getattr(b, "text", "") for b in last.blocks)


def test_widths_are_measured_once_for_all_sections(tmp_path, monkeypatch):
    calls = []
    fwhm = tempo.fwhm
    monkeypatch.setattr(tempo, "fwhm", lambda *a, **k: calls.append(k["mode"]) or fwhm(*a, **k))
    found = compared.load(score_files.write(tmp_path / "run"), score_files.write(tmp_path / "base"))
    for make in sections.SECTIONS:
        make(found)
    assert {mode: calls.count(mode) for mode in calls} == dict.fromkeys(tempo.MODES, 12)
