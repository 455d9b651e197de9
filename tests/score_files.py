"""Score files with known numbers, as evaluation writes them: for tests of what reads them."""

import json
import os

import numpy as np

NAMES = ("Bounce", "Slide", "Spin")
LABELS = np.repeat([0, 1, 2], 4)
NUM_FRAMES = 16
STRIDES = (2, 4, 8)
VARIANTS = ("normal", "shuffled", "reversed", "single_frame")


def probs(right, labels=LABELS, num_classes=3):
    """[N,K]: 0.8 for the true class of the videos `right`, and for the next class of the others."""
    right = np.isin(np.arange(len(labels)), right)
    best = np.where(right, labels, (labels + 1) % num_classes)
    found = np.full((len(labels), num_classes), 0.2 / (num_classes - 1), np.float32)
    found[np.arange(len(labels)), best] = 0.8
    return found


def curves(widths):
    """Per-frame probabilities, one video after the other: triangles of these widths at half."""
    t = np.arange(NUM_FRAMES)
    return np.concatenate([np.maximum(1 - abs(t - 8) / w, 0) for w in widths]).astype(np.float32)


def arrays(kind, right=range(10), widths=(2, 3, 4, 5, 3, 3, 3, 3, 2, 2, 6, 6)):
    """What a kind of score file holds besides what all hold; `right` are the hits."""
    num = len(LABELS)
    if kind == "multi_view":
        features = np.eye(3)[LABELS] * 5 + np.linspace(0, 1, num)[:, None]
        return {"probs": probs(right), "embedding": features.astype(np.float32)}
    if kind == "tempo_robustness":
        each = [probs(right), probs([*right][:8]), probs([*right][:4])]
        return {"strides": STRIDES, "trained_stride": 2, "probs": np.stack(each)}
    if kind == "use_of_time":
        each = [probs(right), probs([0, 1, 2, 3]), probs([*right]), probs([0])]
        return {"variants": VARIANTS, "probs": np.stack(each)}
    offsets = np.arange(num + 1) * NUM_FRAMES
    predicted = np.repeat(LABELS, NUM_FRAMES).astype(np.int32)
    return {"fps": 4.0, "offsets": offsets, "probs": curves(widths), "predicted": predicted}


def common(**changed):
    """What score files of every kind hold."""
    periods = np.array([2, 3, 4, 5, 3, 3, 3, 3, 2, 2, 6, 6]) / 4
    return {
        "id": [f"{i}.mp4" for i in range(len(LABELS))],
        "label": LABELS,
        "class_names": NAMES,
        "checkpoint_step": 560,
        "protocol": "2 clips of 8x4 frames",
        "manifest_sha256": "f" * 64,
        "dataset": "tempobench_variance",
        "split": "test",
        "label_kind": "single",
        "label_groups": "{}",
        "facts": [json.dumps({"period_s": p}) for p in periods],
        **changed,
    }


KINDS = ("multi_view", "tempo_robustness", "per_frame", "use_of_time")


def write(workdir, kinds=KINDS, *, right=range(10), without=(), **changed):
    """A workdir with a score file of each kind; its path as a string."""
    os.makedirs(os.path.join(workdir, "scores"), exist_ok=True)
    for kind in kinds:
        own = {"kind": kind, **common(), **arrays(kind, right), **changed}
        kept = {name: np.asarray(value) for name, value in own.items() if name not in without}
        np.savez(os.path.join(workdir, "scores", f"{kind}.npz"), **kept)
    return str(workdir)
