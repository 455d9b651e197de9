"""Something-Something V1 and V2 (Goyal et al., arXiv 1706.04261; Mahdisoltani et al., 1804.09235).

V1: a folder `<id>/` of `00001.jpg`, ... at 12 frames a second for each video;
`something-something-v1-{train,validation}.csv` with lines `<id>;<label>` and
`something-something-v1-labels.csv` with one label per line, in label order.

V2: `<id>.webm`; `something-something-v2-{train,validation}.json` (later `train.json`), a list of
`{"id", "label", "template", "placeholders"}`, whose label is the template without brackets;
`something-something-v2-labels.json` (later `labels.json`), `{label: "number"}`; and
`test-answers.csv` with lines `<id>;<label>`.
"""

from collections.abc import Callable, Iterator

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import ClassTable, read_list
from tempo.data.readers.listing import Annotation, Place, Request, Row, resolve

_LISTS = r"(?!.*labels).*"
_LABELS = r".*labels\."


def read_v1(request: Request) -> manifest.Scan:
    """Frame folders; the lists are `;`-separated."""
    table = _classes(request)
    rows = [
        _row(video, file.split, label, where, table)
        for file in request.lists(_LISTS + r"\.csv$", what="its lists of videos")
        for video, label, where in _labelled(file, _pairs, _has_pairs)
    ]
    return resolve(request, table.names, rows, frames=True)


def read_v2(request: Request) -> manifest.Scan:
    """WebM files; the lists are JSON, or `;`-separated for the answers of the test split."""
    table = _classes(request)
    rows = []
    for file in request.lists(_LISTS + r"\.(json|csv)$", what="its lists of videos"):
        is_json = file.path.lower().endswith(".json")
        found = (_items, _has_templates) if is_json else (_pairs, _has_pairs)
        rows += [
            _row(video, file.split, label, where, table)
            for video, label, where in _labelled(file, *found)
        ]
    return resolve(request, table.names, rows, frames=None)


def _classes(request: Request) -> ClassTable:
    if request.class_list is not None:
        request.files(_LABELS)  # not needed then, but not a mistake either
        return request.class_list
    path = request.file(_LABELS + r"(csv|json)$", what="its list of labels")
    # Labels of V1 have commas, so its list is never one of columns.
    if path.lower().endswith(".csv"):
        return ClassTable([line for _, line in text.lines(path)], path)
    return read_list(path)


_Items = Iterator[tuple[str, str, text.Where]]


def _labelled(
    file: Annotation, read: Callable[[str], _Items], has_labels: Callable[[str], bool]
) -> list[tuple]:
    """The items of a list; none of a test split without labels that was met in a folder."""
    if file.split == "test" and not file.is_named and not has_labels(file.path):
        return []
    return list(read(file.path))


def _has_pairs(path: str) -> bool:
    """Whether any line has a label; a list without any is one of ids."""
    return any(";" in line for _, line in text.lines(path))


def _has_templates(path: str) -> bool:
    """Whether a file is anything but a list of `{"id": ...}` without templates."""
    content = text.read_json(path)
    if not isinstance(content, list):
        return True
    return not all(isinstance(i, dict) and "id" in i and "template" not in i for i in content)


def _pairs(path: str) -> _Items:
    """Id and label of each line `<id>;<label>`."""
    for number, line in text.lines(path):
        video, semicolon, label = line.partition(";")
        if not semicolon or not video.strip() or not label.strip():
            text.fail((path, number), f"expected '<id>;<label>'; found {line!r}.")
        yield video.strip(), label.strip().strip('"'), (path, number)


def _items(path: str) -> _Items:
    """Id and label of each object; the number that an error gives is that of the item."""
    content = text.read_json(path)
    if not isinstance(content, list):
        text.fail((path, 1), "expected a list of {id, template, ...}.")
    for number, item in enumerate(content, start=1):
        where = (path, number)
        if not isinstance(item, dict) or "id" not in item:
            text.fail(where, f"item {number}: expected {{id, template, ...}}; found {item!r:.80}.")
        if not isinstance(item.get("template"), str):
            text.fail(where, f"item {number}: no template; leave lists without labels out.")
        yield str(item["id"]), item["template"].replace("[", "").replace("]", ""), where


def _row(video: str, split: str, label: str, where: text.Where, table: ClassTable) -> Row:
    return Row(video, split, table.row(label, where), (Place(video),), where)
