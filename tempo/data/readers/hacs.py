"""HACS Clips (Zhao et al., arXiv 1712.09374): two-second clips of long videos.

List: `HACS_clips_v1.1.1.csv` with the columns `classname,youtube_id,subset,start,end,label`. A
label of 1 says that the clip shows the class and -1 that it does not; only the first are taken.
Labels of the testing subset are not published. Videos: `<class>/v_<id>.mp4`, whole. Classes are
numbered in alphabetical order.
"""

from tempo.data import manifest
from tempo.data.readers import text
from tempo.data.readers.classes import alphabetical, fold
from tempo.data.readers.listing import Place, Request, Row, resolve, split_named

_COLUMNS = ("classname", "youtube_id", "subset", "start", "end", "label")


def read(request: Request) -> manifest.Scan:
    """The positive clips."""
    rows, names = [], set()
    for file in request.files(r".*\.csv$", what="HACS_clips_v1.1.1.csv"):
        for number, cells in text.table(file.path, _COLUMNS):
            name, video, subset, start, end, label = cells
            where = (file.path, number)
            split = file.split or split_named(subset, where)
            if label not in ("1", "1.0"):
                if label not in ("-1", "-1.0", "0", ""):
                    text.fail(where, f"expected a label of 1 or -1; found {label!r}.")
                continue
            if not name or not video:
                text.fail(where, "expected a classname and a youtube_id.")
            start_s, end_s = text.segment(start, end, where)
            names.add(name)
            # Of the numbers: `0,1` and `0.0,1.0` are one clip.
            key = f"{fold(name).replace(' ', '_')}/{video}_{start_s}_{end_s}"
            places = (Place(f"v_{video}", start_s, end_s), Place(video, start_s, end_s))
            rows.append(Row(key, split, 0, places, where, name))
    table = request.class_list or alphabetical(names, "the list")
    rows = [row._replace(label=table.row(row.class_name, row.where)) for row in rows]
    return resolve(request, table.names, rows)
