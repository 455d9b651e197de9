"""The README's table is what the recorded rows say."""

import json
import pathlib

from experiments.quickstart import sweep

README = pathlib.Path(sweep.__file__).parents[2] / "README.md"


def test_readme_shows_the_recorded_rows():
    assert sweep.table() in README.read_text()


def test_rows_say_where_they_come_from():
    for line in sweep.RESULTS.read_text().splitlines():
        row = json.loads(line)
        assert {"command", "commit", "date", "versions", "hardware"} <= row.keys()
        assert row["command"].startswith("python -m tempo.main --config configs/quickstart.py")
        assert [r["num_videos"] for r in row["results"]] == [280, 280]
