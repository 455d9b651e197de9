"""Kinetics-400, -600 and -700 (Kay et al., arXiv 1705.06950).

Lists: `train.csv`, `val.csv` (or `validate.csv`), `test.csv` with the columns
`label,youtube_id,time_start,time_end,split` and, in some releases, `is_cc`. Videos are clips,
`<id>_<start>_<end>.mp4` with both times in six digits, or whole files `<id>.mp4`, of which the
segment is read; in class folders or not. Classes are numbered in alphabetical order.
"""

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import alphabetical
from tempo.data.readers.listing import Place, Request, Row, resolve, split_named

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def read(request: Request) -> manifest.Scan:
    """The videos of all lists that are given."""
    found = []
    for file in request.files(r".*\.csv$", what="its lists"):
        split_told = file.split or text.split_of(file.path)
        if not file.is_named and _is_unlabelled(file.path, split_told):
            continue
        for number, cells in text.table(file.path, _COLUMNS, optional=("split",)):
            label, video, start, end, word = cells
            where = (file.path, number)
            if not label or not video:
                text.fail(
                    where, "expected a label and a youtube_id; leave lists without labels out."
                )
            begin = text.integer(start, where, "time_start")
            until = text.integer(end, where, "time_end")
            if until <= begin:
                text.fail(where, f"expected time_end after time_start; found {start} to {end}.")
            split = file.split or (split_named(word, where) if word else split_told)
            if not split:
                text.fail(where, "no split; name it with --annotations SPLIT=FILE.")
            found.append((label, video, begin, until, split, where))
    table = request.class_list or alphabetical((label for label, *_ in found), "the lists")
    rows = [
        Row(
            clip := f"{video}_{begin:06d}_{until:06d}",
            split,
            table.row(label, where),
            (Place(clip), Place(video, float(begin), float(until))),
            where,
            label,
        )
        for label, video, begin, until, split, where in found
    ]
    return resolve(request, table.names, rows)


def _is_unlabelled(path: str, split: str) -> bool:
    """Whether a file met in a folder is the first release's test split, or another kind of file."""
    names = [name.lower() for name in next(text.rows(path), (1, []))[1]]
    return "label" not in names and (split == "test" or "youtube_id" not in names)
