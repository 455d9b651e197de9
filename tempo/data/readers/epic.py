"""EPIC-KITCHENS-55 (Damen et al., arXiv 1804.02748): a verb and a noun for each action segment.

`EPIC_train_action_labels.csv` has the segments and labels, `EPIC_verb_classes.csv` (125) and
`EPIC_noun_classes.csv` (352) the names. The usual split of the published training set is that of
RULSTM (Furnari and Farinella, arXiv 1905.09035): `training.csv` and `validation.csv` without column
names, `<uid>, <video>, <first frame>, <last frame>, <verb>, <noun>, <action>` with frames at 30 a
second, or `training_videos.csv` and `validation_videos.csv` with a video on each line. Times are
those of the labels' file, or else those frames. A verb or noun of -1 is not known.
Videos: `P01/P01_01.MP4`, anywhere, or folders `P01_01` of frames at 60 a second.
"""

import dataclasses
from collections.abc import Iterator, Mapping

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.listing import Annotation, Place, Request, Row, resolve
from tempo.errors import InputError

_SPLIT_FPS = 30.0
_UNKNOWN = -1
_COLUMNS = (
    "uid", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Action:
    uid: int
    video: str
    start_s: float
    end_s: float
    label: tuple[int, int]
    where: text.Where


def read(request: Request) -> manifest.Scan:
    """The segments of the split lists, or of the labels' file as training videos."""
    verbs = _names(request, "verb")
    nouns = _names(request, "noun")
    groups = {"verb": len(verbs), "noun": len(nouns)}
    path = request.file(r"EPIC_.*action_labels\.csv$")
    labels = {action.uid: action for action in _read_labels(path, groups)} if path else None
    lists = request.files(r"(training|validation|train|val)(_videos)?\.csv$")
    if labels is None and not lists:
        request.files(r"EPIC_.*action_labels\.csv$", what="EPIC_train_action_labels.csv")
    lists = [dataclasses.replace(f, split=f.split or text.split_of(f.path)) for f in lists]
    # A folder of the split's files has both kinds; they say the same.
    lists = [f for f in lists if not f.path.endswith("_videos.csv")] or lists
    rows = []
    for split, action in _split(lists, labels, groups):
        place = Place(action.video, action.start_s, action.end_s)
        verb, noun = action.label
        label = (verb, noun if noun == _UNKNOWN else len(verbs) + noun)
        key = f"{action.video}_{action.uid}"
        rows.append(Row(key, split, label, (place,), action.where))
    # Some words are verbs and nouns: knife, fork, filter.
    names = [f"verb:{name}" for name in verbs] + [f"noun:{name}" for name in nouns]
    return resolve(request, names, rows, frames=None, label_kind="joint", label_groups=groups)


def _names(request: Request, group: str) -> list[str]:
    """Names of the verbs or nouns, by their numbers."""
    if request.class_list is not None:
        raise InputError("Dataset 'epic55' has its classes in two files; leave --classes out.")
    name = f"EPIC_{group}_classes.csv"
    path = request.file(rf"EPIC_{group}_classes.*\.csv$", what=name)
    names = {}
    for number, (cell, key) in text.table(path, (f"{group}_id", "class_key")):
        names[text.integer(cell, (path, number), f"{group}_id")] = key
    if sorted(names) != list(range(len(names))):
        raise InputError(f"{path!r}: the numbers must be 0 to {len(names) - 1}, each once.")
    return [names[number] for number in sorted(names)]


def _read_labels(path: str, groups: Mapping[str, int]) -> Iterator[_Action]:
    seen: dict[int, int] = {}
    for number, (uid, video, start, stop, verb, noun) in text.table(path, _COLUMNS):
        where = (path, number)
        key = text.integer(uid, where, "a uid")
        if seen.setdefault(key, number) != number:
            text.fail(where, f"uid {key} is listed twice, first at line {seen[key]}.")
        start_s, end_s = text.segment(start, stop, where)
        yield _Action(key, video, start_s, end_s, _label(verb, noun, where, groups), where)


def _label(verb: str, noun: str, where: text.Where, groups: Mapping[str, int]) -> tuple[int, int]:
    label = tuple(
        _UNKNOWN if cell.strip() == str(_UNKNOWN) else text.integer(cell, where, what)
        for cell, what in ((verb, "a verb class"), (noun, "a noun class"))
    )
    for row, (group, size) in zip(label, groups.items(), strict=True):
        if row >= size:
            text.fail(where, f"{group} {row} is not in EPIC_{group}_classes.csv (0 to {size - 1}).")
    return label


def _split(
    lists: list[Annotation], labels: Mapping[int, _Action] | None, groups: Mapping[str, int]
) -> Iterator[tuple[str, _Action]]:
    """Split and action of each segment."""
    if not lists:
        yield from (("train", action) for action in labels.values())
    for file in lists:
        found = list(text.rows(file.path))
        if labels is not None and all(len(cells) == 1 for _, cells in found):
            wanted = {cells[0]: number for number, cells in found}
            known = {action.video for action in labels.values()}
            for video, number in wanted.items():
                if video not in known:
                    text.fail((file.path, number), f"{video!r} is in no row of the labels' file.")
            yield from ((file.split, a) for a in labels.values() if a.video in wanted)
            continue
        for number, cells in found:
            action = _listed(cells, (file.path, number), groups)
            if labels is None:
                yield file.split, action
                continue
            known = labels.get(action.uid)
            if known is None:
                text.fail(action.where, f"uid {action.uid} is not in the labels' file.")
            if (known.video, known.label) != (action.video, action.label):
                text.fail(
                    action.where,
                    f"uid {action.uid} is {known.video}, verb {known.label[0]}, noun "
                    f"{known.label[1]} in the labels' file; found {', '.join(cells)!r}.",
                )
            yield file.split, dataclasses.replace(known, where=action.where)


def _listed(cells: list[str], where: text.Where, groups: Mapping[str, int]) -> _Action:
    if len(cells) != 7:
        text.fail(
            where,
            "expected '<uid>, <video>, <first frame>, <last frame>, <verb>, <noun>, <action>'; "
            f"found {', '.join(cells)!r}.",
        )
    uid, video, first, last, verb, noun, _ = cells
    start_s = text.integer(first, where, "a frame") / _SPLIT_FPS
    end_s = text.integer(last, where, "a frame") / _SPLIT_FPS
    if end_s <= start_s:
        text.fail(where, f"expected a last frame after the first; found {first} to {last}.")
    label = _label(verb, noun, where, groups)
    return _Action(text.integer(uid, where, "a uid"), video, start_s, end_s, label, where)
