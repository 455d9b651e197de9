"""The sections of a report, in their order: each is a function of `Compared`.

A section whose scores are missing says which command makes them; the others do not need it.
"""

from collections.abc import Callable

from tempo.analysis.compared import Compared
from tempo.analysis.page import Section
from tempo.analysis.sections import accuracy, features, provenance, time, visual_tempo

SECTIONS: tuple[Callable[[Compared], Section], ...] = (
    accuracy.headline,
    accuracy.classes,
    accuracy.confusion,
    visual_tempo.widths,
    visual_tempo.validation,
    visual_tempo.variance,
    visual_tempo.gains,
    time.robustness,
    time.orders,
    features.plane,
    provenance.provenance,
)
"""To add one: write the function and its row here."""
