"""The recipe of a row with all that is measured of it; training itself needs only the accuracy.

    python -m tempo.main --mode eval --config experiments/tempo_robustness/evaluation.py:slowonly \
        --checkpoint runs/tempo_robustness/slowonly_seed0 \
        --workdir runs/tempo_robustness/slowonly_seed0

Strides 1 to 8 where 4 was trained: at 8 a clip's last frame is the video's 57th of 64, at 1 it sees
0.4 cycles of the median tempo. Per-frame scores are those of every stored frame, 25 a second: at
the 5 a second that suit a video of 10 s, a cycle of the median tempo has 4 frames.
"""

import ml_collections

from experiments.tempo_robustness import config as recipe

STRIDES = tuple(range(1, 9))
FRAMES_PER_S = 25.0


def get_config(arg: str = "tpn_parallel") -> ml_collections.ConfigDict:
    """The config of a row of `config.ROWS`, with further evaluators."""
    config = recipe.get_config(arg)
    # One clip, from the middle: two clips of stride 8 would be nearly the same frames.
    view = {**config.eval.multi_view.to_dict(), "num_clips": 1, "batch_size": 40}
    config.eval.tempo_robustness = {"kind": "tempo_robustness", "strides": STRIDES, **view}
    config.eval.use_of_time = {"kind": "use_of_time", **view}
    # Of the network that knows single frames alone; the others would see a clip standing still.
    if arg == "tsn":
        config.eval.per_frame = {
            "kind": "per_frame",
            "frames_per_s": FRAMES_PER_S,
            **{key: view[key] for key in ("short_side_px", "size_px", "batch_size")},
        }
    return config
