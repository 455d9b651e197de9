"""Moments in Time (Monfort et al., arXiv 1801.03150).

Lists: `trainingSet.csv` and `validationSet.csv` without a row of column names:
`<class>/<video>.mp4,<class>,<workers who agree>,<workers who do not>`. Classes:
`moments_categories.txt` with lines `<class>,<number>`. Videos: `training/<class>/<video>.mp4` and
`validation/<class>/<video>.mp4`.
"""

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import read_list
from tempo.data.readers.listing import Place, Request, Row, resolve

_CATEGORIES = r"moments_categories\.txt$"


def read(request: Request) -> manifest.Scan:
    """The videos of all lists that are given."""
    table = request.class_list
    path = request.file(_CATEGORIES, what="" if table else "moments_categories.txt")
    table = table or read_list(path)
    rows = []
    for file in request.lists(r".*\.csv$", what="trainingSet.csv or validationSet.csv"):
        for number, cells in text.rows(file.path):
            where = (file.path, number)
            if len(cells) < 2 or not all(cells[:2]):
                text.fail(
                    where, f"expected '<class>/<video>.mp4,<class>,...'; found {','.join(cells)!r}."
                )
            video, label = cells[:2]
            # Both splits may have a video of one name: its folder is of its split then.
            key = f"{file.split}/{video}"
            folder = {"train": "training", "val": "validation"}.get(file.split, file.split)
            places = (Place(f"{folder}/{video}"), Place(video))
            rows.append(Row(key, file.split, table.row(label, where), places, where, label))
    return resolve(request, table.names, rows)
