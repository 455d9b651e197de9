"""Evaluation protocols: `KINDS` is the table; `evaluator.Evaluator` runs one of them.

A kind is a frozen dataclass (see `evaluator.Kind`): its fields are the keys of its section of a
config, and it says what is measured and saved. To add one, write its file and add its row.
"""

from tempo.evaluators import multi_view, per_frame, tempo_robustness, use_of_time

KINDS = {
    kind.name: kind
    for kind in (
        multi_view.MultiView,
        tempo_robustness.TempoRobustness,
        per_frame.PerFrame,
        use_of_time.UseOfTime,
    )
}
"""What can be measured, by `config.eval.<name>.kind`."""
