"""Saved scores: the `<workdir>/scores/<evaluator>.npz` that evaluation writes, read and checked."""

import dataclasses
import itertools
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tempo import files
from tempo.analysis import accuracy
from tempo.errors import InputError, lookup, nearest

KINDS = {
    "multi_view": ("probs",),
    "tempo_robustness": ("probs", "strides", "trained_stride"),
    "per_frame": ("probs", "fps", "offsets", "predicted"),
    "use_of_time": ("probs", "variants"),
}
"""Kind of evaluator -> the arrays that its scores must have besides those of every kind."""
_COMMON = ("id", "label", "class_names", "checkpoint_step", "protocol", "manifest_sha256")
_OPTIONAL = ("dataset", "split", "label_kind", "label_groups", "facts", "row")
_EVALUATE = "evaluate again: python -m tempo.main --mode eval --checkpoint DIR --workdir DIR"


@dataclasses.dataclass(frozen=True)
class Scores:
    """One score file.

    Attributes:
      path: of the file.
      name: of the evaluator: the file's name without its suffix.
      kind: row of `KINDS`.
      ids: of the videos, N of them.
      labels: [N] class indices; [N,G] of several groups, -1 where one is not known; [N,K]
        multi-hot.
      class_names: K of them.
      checkpoint_step: finished training steps.
      protocol: what was averaged over what, in words.
      manifest_sha256: identity of the dataset.
      dataset: its name; "" in files that do not say.
      split: evaluated; "" likewise.
      label_kind: `single`, `multi` or `joint`.
      label_groups: number of classes of each group, by name; empty unless `joint`.
      facts: what the records know of each video, such as its true tempo; N dicts.
      arrays: the arrays of its kind: `probs` and what `KINDS` says, and `logits`, `view_logits`,
        `embedding` where they were saved.
      row: of its recipe, as the config of the network says; "" where neither says any.
    """

    path: str
    name: str
    kind: str
    ids: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    checkpoint_step: int
    protocol: str
    manifest_sha256: str
    dataset: str
    split: str
    label_kind: str
    label_groups: Mapping[str, int]
    facts: tuple[Mapping[str, Any], ...]
    arrays: Mapping[str, np.ndarray]
    row: str = ""

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.ids)

    def fact(self, name: str) -> np.ndarray:
        """A number that the records know of each video, float64 [N]; NaN where they do not."""
        found = [facts.get(name) for facts in self.facts]
        return np.array([x if _is_number(x) else np.nan for x in found], np.float64)

    def correct(self, k: int = 1) -> np.ndarray:
        """Whether the true class is among the k best, bool [..., N] with the axes of `probs`.

        Of per-frame scores: whether each frame's best class is the true one, [sum n] (k = 1 only);
        never where the probability is NaN, as in videos whose label is not known.
        Of several groups of classes: whether all are right together, never where one is not known.

        Raises:
          InputError: videos with any number of labels, which are no hits or misses; or of several
            groups of classes that the file does not name.
        """
        grouped = self.label_kind == "joint" and (self.kind == "per_frame" or self.label_groups)
        if self.label_kind != "single" and not grouped:
            raise InputError(
                f"{self.path!r} has {self.label_kind} labels; its hits need one label per video, "
                "or the sizes of the groups of classes (label_groups)."
            )
        probs = self.arrays["probs"]
        if self.kind == "per_frame":
            if k != 1:
                raise InputError(f"Per-frame scores hold the best class only; asked for top-{k}.")
            return self._correct_frames()
        if self.label_kind == "single":
            return accuracy.hits(probs, self.labels, k)
        starts = np.cumsum([0, *self.label_groups.values()])
        parts = [probs[..., a:b] for a, b in itertools.pairwise(starts)]
        return accuracy.joint_hits(parts, self.labels - starts[:-1], k)

    def _correct_frames(self) -> np.ndarray:
        """As the evaluator counted; of files from before it wrote that down, by the best class.

        In those a tie of the true class with a later one looks like a hit.
        """
        if "correct" in self.arrays:
            found = self.arrays["correct"].astype(bool)
        else:
            own = np.repeat(self.labels, np.diff(self.arrays["offsets"]), axis=0)
            found = (self.arrays["predicted"] == own).reshape(len(own), -1).all(axis=1)
        return found & np.isfinite(self.arrays["probs"])


def evaluator(path: str) -> str:
    """Name of the evaluator that writes a score file."""
    return os.path.basename(path).removesuffix(".npz")


def load(path: str | os.PathLike, kind: str = "") -> Scores:
    """Reads a score file.

    Args:
      path: the `.npz`.
      kind: that it must be of; "" takes any.

    Raises:
      InputError: no such file, damaged, of another kind, or with arrays that do not fit.
    """
    path = os.fspath(path)
    arrays = _read(path)
    missing = [name for name in _COMMON if name not in arrays]
    if missing:
        raise InputError(f"{path!r} is no score file: it has no {missing[0]!r}; {_EVALUATE}.")
    # Files from before there were kinds are all of this one.
    found = str(arrays.pop("kind", "multi_view"))
    required = lookup(KINDS, found, f"kind of scores in {path!r}:")
    if kind and kind != found:
        lookup(KINDS, kind, "kind of scores")
        raise InputError(f"{path!r} holds scores of kind {found!r}, but {kind!r} is needed.")
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(f"{path!r} of kind {found!r} has no {missing[0]!r}; {_EVALUATE}.")
    said = {name: arrays.pop(name) for name in _COMMON + _OPTIONAL if name in arrays}
    labels, class_names = said["label"], tuple(map(str, said["class_names"]))
    groups = _json(path, str(said.get("label_groups", "") or "{}"), "label_groups")
    scores = Scores(
        path=path,
        name=evaluator(path),
        kind=found,
        ids=tuple(map(str, said["id"])),
        labels=labels,
        class_names=class_names,
        checkpoint_step=int(said["checkpoint_step"]),
        protocol=str(said["protocol"]),
        manifest_sha256=str(said["manifest_sha256"]),
        dataset=str(said.get("dataset", "")),
        split=str(said.get("split", "")),
        label_kind=str(said.get("label_kind", "")) or _guess_kind(labels, len(class_names)),
        label_groups=groups,
        facts=_facts(path, said.get("facts"), len(labels)),
        arrays=arrays,
        row=str(said.get("row", "")),
    )
    _check(scores)
    return scores


def load_all(workdir: str | os.PathLike) -> dict[str, Scores]:
    """All score files of a run, by evaluator's name.

    Args:
      workdir: of the run; its files are in `scores/`.

    Raises:
      InputError: there are none, or one that `load` refuses.
    """
    folder = os.path.join(os.fspath(workdir), "scores")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    names = [name for name in names if name.endswith(".npz") and not name.startswith(".")]
    if not names:
        raise InputError(
            f"{os.fspath(workdir)!r} has no scores of single videos (scores/*.npz); {_EVALUATE}."
        )
    return {name.removesuffix(".npz"): load(os.path.join(folder, name)) for name in names}


def check_comparable(first: Scores, second: Scores) -> None:
    """Raises `InputError` unless both are of the same videos, in the same order, with their labels.

    What a file does not say (older ones name no split) is not compared. Another order is refused
    and not mended: evaluations of one copy of a dataset have one order, so that of another one is a
    sign that the file was made by something else.
    """
    where = f"{second.path!r} cannot be compared with {first.path!r}: "
    for what in ("manifest_sha256", "split", "class_names", "label_kind"):
        here, there = getattr(first, what), getattr(second, what)
        if here and there and here != there:
            raise InputError(
                f"{where}{what} is {_short(there)}, not {_short(here)}; evaluate both on the same "
                "split of the same dataset."
            )
    if first.ids != second.ids:
        detail = "their videos stand in another order"
        if differing := set(first.ids) ^ set(second.ids):
            detail = f"{len(differing)} videos are in one only, such as {min(differing)!r}"
        raise InputError(f"{where}{detail}; evaluate both on the same split of the same dataset.")
    if not np.array_equal(first.labels, second.labels):
        detail = "their labels differ"
        if first.labels.shape == second.labels.shape:
            differ = (first.labels != second.labels).reshape(len(first), -1).any(axis=1)
            example = first.ids[int(differ.argmax())]
            detail = f"{differ.sum()} of {len(first)} labels differ, such as that of {example!r}"
        raise InputError(f"{where}{detail}; evaluate both on the same copy of the dataset.")


def save(found: Scores, path: str | os.PathLike) -> None:
    """Writes a score file that `load` reads, in place of an older one."""
    with files.replacing(os.fspath(path), "wb") as f:
        np.savez(
            f,
            kind=found.kind,
            id=np.asarray(found.ids),
            label=found.labels,
            class_names=np.asarray(found.class_names),
            label_kind=found.label_kind,
            label_groups=json.dumps(dict(found.label_groups)),
            checkpoint_step=found.checkpoint_step,
            protocol=found.protocol,
            manifest_sha256=found.manifest_sha256,
            dataset=found.dataset,
            split=found.split,
            row=found.row,
            facts=np.asarray([json.dumps(facts) if facts else "" for facts in found.facts]),
            **found.arrays,
        )


def _read(path: str) -> dict[str, np.ndarray]:
    if not os.path.isfile(path):
        folder = os.path.dirname(path) or "."
        others = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        others = [name for name in others if name.endswith(".npz")]
        hint = nearest(os.path.basename(path), others) if others else f" To write it, {_EVALUATE}."
        raise InputError(f"There is no score file {path!r}.{hint}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path!r} is damaged or no score file; {_EVALUATE}.") from None


def _json(path: str, text: str, what: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        raise InputError(f"{path!r} has {what} that are no JSON object: {text[:40]!r}.") from None


def _facts(path: str, found: np.ndarray | None, num: int) -> tuple[dict[str, Any], ...]:
    if found is None:
        return ({},) * num
    return tuple(_json(path, str(text), "facts") if str(text) else {} for text in found)


def _guess_kind(labels: np.ndarray, num_classes: int) -> str:
    """Of a file that does not say."""
    if labels.ndim == 1:
        return "single"
    return "multi" if labels.shape[1] == num_classes and labels.max(initial=0) <= 1 else "joint"


def _check(scores: Scores) -> None:
    """Raises `InputError` if the arrays of a score file do not fit each other."""
    num, num_classes, arrays = len(scores), scores.num_classes, scores.arrays
    if not num:
        raise InputError(f"{scores.path!r} holds no video.")
    expected: dict[str, Sequence[int]] = {"logits": (num, num_classes)}
    if scores.kind == "per_frame":
        expected |= _check_frames(scores)
    else:
        axis = {"tempo_robustness": "strides", "use_of_time": "variants"}.get(scores.kind)
        lead = (len(np.atleast_1d(arrays[axis])),) if axis else ()
        expected |= {"probs": (*lead, num, num_classes)}
    found = {name: arrays[name].shape for name in expected if name in arrays}
    found |= {"label": scores.labels.shape[:1], "facts": (len(scores.facts),)}
    expected |= {"label": (num,), "facts": (num,)}
    for name, shape in found.items():
        if shape != expected[name]:
            raise InputError(
                f"{scores.path!r}: {name} has shape {shape}, but {num} videos and {num_classes} "
                f"classes need {expected[name]}; {_EVALUATE}."
            )
    if len(set(scores.ids)) != num:
        raise InputError(f"{scores.path!r} holds a video twice; {_EVALUATE}.")
    limit = 2 if scores.label_kind == "multi" else num_classes
    low, high = scores.labels.min(), scores.labels.max()
    lowest = -1 if scores.label_kind == "joint" else 0
    if low < lowest or high >= limit:
        raise InputError(
            f"{scores.path!r} has labels {low} to {high}, not {lowest} to {limit - 1}."
        )


def _check_frames(scores: Scores) -> dict[str, Sequence[int]]:
    """Shapes that the offsets ask for."""
    offsets = scores.arrays["offsets"]
    if offsets.shape != (len(scores) + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise InputError(
            f"{scores.path!r}: offsets must rise from 0 and be one more than its {len(scores)} "
            f"videos; {_EVALUATE}."
        )
    total = int(offsets[-1])
    wide = (total, *scores.labels.shape[1:])
    return {"probs": (total,), "correct": (total,), "predicted": wide}


def _short(value: Any) -> str:
    if isinstance(value, str):
        return repr(value[:12])
    return f"{len(value)} ({', '.join(value[:3])}, ...)"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
