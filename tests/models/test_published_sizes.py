"""Published sizes beside those counted here."""

import pytest

from tempo import models
from tempo.models import published, size


def test_every_row_is_of_a_preset_and_says_something():
    assert set(published.PUBLISHED) <= set(models.list_models())
    for rows in published.PUBLISHED.values():
        assert all(row.gmacs or row.mparams for row in rows)


@pytest.mark.parametrize("name", ["tsm_r50", "slowonly_r50"])
def test_multiply_adds_are_those_counted_here(name):
    """Within what norms and pooling make, which some sources count."""
    for row in published.PUBLISHED[name]:
        clip = (row.num_frames, row.side_px, row.side_px, 3)
        _, macs = size.count(400, {"name": name}, clip)
        assert macs / 1e9 == pytest.approx(row.gmacs, rel=0.015)


def words(line):
    return " ".join(line.split())


def test_numbers_stand_beside_ours(monkeypatch):
    rows = (
        published.Published("a paper", 4, 32, 12.3, None),
        published.Published("a zoo", 4, 32, None, 45.6),
    )
    monkeypatch.setitem(published.PUBLISHED, "tsn_r18", rows)
    counted = []

    def count(num_classes, model, clip):
        counted.append((num_classes, model, clip))
        return 7_890_000, 1_234_000_000

    monkeypatch.setattr(size, "count", count)
    first, second = published.beside_ours("tsn_r18")
    assert words(first) == "4x32 GMACs 12.3 here 1.23 M parameters - here 7.89 (a paper)"
    assert words(second) == "4x32 GMACs - here 1.23 M parameters 45.6 here 7.89 (a zoo)"
    assert counted == [(400, {"name": "tsn_r18"}, (4, 32, 32, 3))]
    assert published.beside_ours("tsn_r34") == []
