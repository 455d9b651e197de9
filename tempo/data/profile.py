"""What an input pipeline costs: ms of every stage and op, clips per second, and what to change.

`python -m tempo.main --config ... --profile-input` prints it for the training input of a config.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence

from tempo.data import pipeline, stages

OTHER = "other"
"""What of asking for a batch is in no stage: its memory, labels and ids, and the order of rows."""
_WARM_BATCHES = 3
# From this share of the time on, a stage is worth a word.
_LARGE = 0.3
# Clips per second must differ by more to be called faster: runs of a few seconds vary.
_FASTER = 1.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """Measurements of one pipeline.

    Attributes:
      ms: of each stage per clip, in the caller's thread, in the order of first use; `OTHER` last.
      clips_per_s: by number of threads; 0 makes each batch in the caller.
      num_clips: how many the times are means of.
    """

    ms: Mapping[str, float]
    clips_per_s: Mapping[int, float]
    num_clips: int

    @property
    def shares(self) -> dict[str, float]:
        """Of each stage in the time of a clip; their sum is 1."""
        total = sum(self.ms.values())
        return {name: ms / total for name, ms in self.ms.items()}


def measure(
    open_batches: Callable[[int], pipeline.Batches],
    *,
    threads: Sequence[int] | None = None,
    seconds: float = 3.0,
) -> Profile:
    """Measures a pipeline: its stages in the caller's thread, then its rate on threads.

    Args:
      open_batches: number of threads -> an endless stream of training batches.
      threads: numbers to try; 0, 1, 2 and as many as there are cores by default.
      seconds: of each measurement, at least one batch.
    """
    with open_batches(0) as batches:
        for _ in range(_WARM_BATCHES):
            next(batches)
        with stages.measure() as clock:
            num_clips, passed = _run(batches, seconds)
    seconds_of = clock.seconds | {OTHER: max(passed - sum(clock.seconds.values()), 0.0)}
    rates = {}
    for number in default_threads() if threads is None else threads:
        with open_batches(number) as batches:
            for _ in range(_WARM_BATCHES):  # what had been made ahead must not count
                next(batches)
            count, passed = _run(batches, seconds)
            rates[number] = count / passed
    ms = {name: 1e3 * s / num_clips for name, s in seconds_of.items()}
    return Profile(ms=ms, clips_per_s=rates, num_clips=num_clips)


def default_threads() -> list[int]:
    """0, 1, 2 and the number of cores that this process may use."""
    return sorted({0, 1, 2, len(os.sched_getaffinity(0))})


def _run(batches: pipeline.Batches, seconds: float) -> tuple[int, float]:
    """Clips and seconds of batches asked for during `seconds`."""
    num_clips, start = 0, time.perf_counter()
    while True:
        num_clips += len(next(batches)["label"])
        passed = time.perf_counter() - start
        if passed >= seconds:
            return num_clips, passed


def report(
    profile: Profile, *, kind: str, short_side_px: int, size_px: int, num_workers: int
) -> str:
    """The profile as text, with what to change if training waits for its input.

    Args:
      profile: from `measure`.
      kind: of the records.
      short_side_px: of stored frames; 0 if they kept their size.
      size_px: side of the training crop.
      num_workers: of the config.
    """
    total = sum(profile.ms.values())
    lines = [f"{'stage':24} {'ms per clip':>11} {'share':>7}"]
    for name, ms in profile.ms.items():
        lines.append(f"{name:24} {ms:11.3f} {profile.shares[name]:7.1%}")
    lines.append(f"{'in all':24} {total:11.3f} {1:7.1%}   over {profile.num_clips} clips")
    lines += ["", f"{'threads':24} {'clips/s':>11}"]
    for number, rate in profile.clips_per_s.items():
        lines.append(f"{number or '0 (in the caller)'!s:24} {rate:11.1f}")
    lines += ["", "If training is input-bound:"]
    lines += (f"  {line}" for line in advice(profile, kind, short_side_px, size_px, num_workers))
    return "\n".join(lines)


def advice(
    profile: Profile, kind: str, short_side_px: int, size_px: int, num_workers: int
) -> list[str]:
    """What to change, most useful first; the arguments are those of `report`."""
    shares, rates = profile.shares, profile.clips_per_s
    lines = []
    # Not 0, however fast: the caller is busy with training.
    best = max((n for n in rates if n), key=rates.get, default=num_workers)
    now = rates.get(num_workers)
    if best != num_workers and (now is None or not num_workers or rates[best] > _FASTER * now):
        told = "" if now is None else f" against {now:.0f} with {num_workers}"
        lines.append(f"config.data.num_workers={best} gives {rates[best]:.0f} clips/s{told}")
    if kind == "frames" and (short_side_px == 0 or short_side_px > 1.5 * size_px):
        stored = f"stored with short side {short_side_px}" if short_side_px else "of full size"
        lines.append(
            f"frames are {stored} for crops of {size_px}: prepare with --short-side "
            f"{round(size_px * 8 / 7)}; decoding costs as much as there are pixels"
        )
    decode = shares.get(stages.DECODE, 0.0)
    if decode > _LARGE:
        other = {"frames": "encoded", "encoded": "frames"}[kind]
        where = {
            "frames": "can be faster for clips of many neighbouring frames of low-bitrate video",
            "encoded": "decode only the frames of the clip, at several times the disk space",
        }[kind]
        lines.append(f"decoding takes {decode:.0%}: records of --kind {other} {where}")
    if shares.get(stages.READ, 0.0) > _LARGE:
        lines.append(f"reading takes {shares[stages.READ]:.0%}: copy the records to a faster disk")
    for name in ("jitter_short_side", "resize_short_side"):
        if shares.get(name, 0.0) > _LARGE:
            lines.append(
                f"{name} takes {shares[name]:.0%} for whole frames: random_resized_crop resizes "
                "the crop alone"
            )
    return lines or ["nothing stands out; a machine with more cores makes more clips"]
