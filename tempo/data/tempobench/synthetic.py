"""TempoBench: short videos of textured objects whose label lives in time, made on the spot.

Real encoded files in the folder and split-file layout of UCF-101 (arXiv 1212.0402), so that the
ordinary ingest path reads them. The true tempo of every video is written beside them.
"""

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import tempfile
import zlib

import av
import numpy as np

from tempo.data.tempobench import motion, scenes
from tempo.errors import InputError, lookup

PARAMETERS_FILE = "tempobench.json"
TEMPO_FILE = "tempo.json"
SPLITS = ("train", "test")
CLIPS_PER_GROUP = 7
_FORMAT = 1  # raise when the same parameters would give other videos

# Every frame on its own at one quantiser: how many bits motion costs cannot show in a frame.
CODECS: dict[str, dict[str, str]] = {
    "mpeg4": {"qmin": "3", "qmax": "3"},
    "h264": {"qp": "20", "preset": "veryfast"},
}
_ENCODERS = {"mpeg4": "mpeg4", "h264": "libx264"}


@dataclasses.dataclass(frozen=True)
class Video:
    """One video to be made: its place in the tree, what it shows, and its tempo."""

    path: str  # "<Class>/v_<Class>_gXX_cYY.mp4", below videos/
    split: str
    label: int
    tempo_class: motion.TempoClass
    scene: scenes.Scene
    cycles_per_frame: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameters:
    """Everything that decides which files are written; see `write_tempobench`."""

    config: str
    level: str
    num_train: int
    num_test: int
    num_frames: int
    height_px: int
    width_px: int
    fps: int
    seed: int
    codec: str
    spread_shift: int

    def __post_init__(self):
        lookup(motion.CONFIGS, self.config, "TempoBench config")
        lookup(scenes.LEVELS, self.level, "TempoBench level")
        lookup(CODECS, self.codec, "codec")
        num_classes = len(self.classes)
        for name in ("num_train", "num_test"):
            if getattr(self, name) < num_classes:
                raise InputError(
                    f"{name}={getattr(self, name)} leaves classes without a video; "
                    f"{self.config!r} has {num_classes} classes, so give at least {num_classes}."
                )
        for name in ("height_px", "width_px"):
            if getattr(self, name) < 32 or getattr(self, name) % 2:
                raise InputError(
                    f"{name}={getattr(self, name)} must be even and at least 32, as the encoded "
                    "colour has half the resolution."
                )
        if self.width_px < self.height_px:
            raise InputError(
                f"width_px={self.width_px} is below height_px={self.height_px}; motion is measured "
                "in heights and would leave the frame: swap the two."
            )
        for name, least in (("num_frames", 2), ("fps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)} must be at least {least}.")

    @functools.cached_property
    def classes(self) -> list[motion.TempoClass]:
        """The classes in label order."""
        return motion.classes(self.config, spread_shift=self.spread_shift)

    def video(self, split: str, index: int) -> Video:
        """Video `index` of a split, a pure function of (parameters, split, index).

        Classes take turns, so they differ by one video at most. Groups of train are odd and
        groups of test even, so a name says its split and never depends on how many others exist.
        """
        label, nth = index % len(self.classes), index // len(self.classes)
        tempo_class = self.classes[label]
        key = (self.config, self.level, split)
        rng = np.random.default_rng((self.seed, *(zlib.crc32(k.encode()) for k in key), index))
        scene = scenes.sample_scene(rng, tempo_class.pattern, self.level)
        octave = rng.uniform(-1, 1)
        tempo = tempo_class.tempo_spread**octave / tempo_class.median_period_frames
        group = 2 * (nth // CLIPS_PER_GROUP) + 1 + SPLITS.index(split)
        name = tempo_class.name
        stem = f"v_{name}_g{group:02d}_c{nth % CLIPS_PER_GROUP + 1:02d}"
        return Video(f"{name}/{stem}.mp4", split, label, tempo_class, scene, tempo)

    def videos(self) -> list[Video]:
        """All videos: train, then test."""
        counts = {"train": self.num_train, "test": self.num_test}
        return [self.video(split, i) for split in SPLITS for i in range(counts[split])]


def tempo_record(video: Video, fps: float) -> dict:
    """The ground truth of a video as it stands in `tempo.json`; times in seconds."""
    row = video.tempo_class
    return {
        "split": video.split,
        "label": video.label,
        "pattern": row.pattern,
        "tempo": row.tempo,
        "cycles_per_s": video.cycles_per_frame * fps,
        "period_s": 1 / (video.cycles_per_frame * fps),
        "period_frames": 1 / video.cycles_per_frame,
        "phase": video.scene.phase,
        "mirror": video.scene.mirror,
        "class_median_cycles_per_s": fps / row.median_period_frames,
        "class_tempo_spread": row.tempo_spread,
        "class_log_tempo_std": row.log_tempo_std,
    }


def write_video(path: str | os.PathLike, frames: np.ndarray, fps: int, codec: str) -> None:
    """Encodes uint8 [T,H,W,3] as mp4, each frame on its own at one quality (a row of `CODECS`).

    On one thread, so that the same frames give the same bytes.
    """
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream(_ENCODERS[codec], rate=fps, options=dict(CODECS[codec]))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 1
        stream.codec_context.thread_count = 1
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", threads=1)))
        container.mux(stream.encode())


def write_tempobench(
    out_dir: str | os.PathLike,
    *,
    config: str = "pairs",
    level: str = "easy",
    num_train: int,
    num_test: int,
    num_frames: int = 64,
    height_px: int = 96,
    width_px: int = 128,
    fps: int = 25,
    seed: int = 0,
    codec: str = "mpeg4",
    spread_shift: int = 0,
    num_workers: int | None = None,
) -> pathlib.Path:
    """Writes a TempoBench data set and returns its folder; reuses one that is already there.

    The folder has `videos/<Class>/v_<Class>_gXX_cYY.mp4`, the split files
    `ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt`, `tempo.json` (path below videos/ ->
    true tempo, see `tempo_record`) and `tempobench.json` (the parameters). It appears complete or
    not at all.

    Args:
      out_dir: the folder; its parents are made.
      config: `pairs` (7 patterns x slow/fast, 14 classes: one frame cannot tell the tempo),
        `variance` (the 7 patterns, each with its own spread of tempo) or `symmetric` (the 10
        classes of `pairs` that mirroring and playing backwards leave as they are).
      level: `easy` (bright object, still dim background) or `hard` (clutter, camera drift,
        distractors, noise).
      num_train: training videos over all classes; classes differ by one at most.
      num_test: test videos over all classes.
      num_frames: frames in a video.
      height_px: height, even.
      width_px: width, even, not below the height.
      fps: frames per second. Tempo is set in frames per cycle, so this scales cycles per second.
      seed: another seed gives other videos. Any number of workers gives the same files.
      codec: `mpeg4` or `h264`; both at constant quality and every frame a key frame.
      spread_shift: in `variance`, which class gets which spread; see `motion.classes`.
      num_workers: threads; None for one per core.

    Raises:
      InputError: a parameter out of range, or `out_dir` holds something else.
    """
    parameters = Parameters(
        config=config,
        level=level,
        num_train=num_train,
        num_test=num_test,
        num_frames=num_frames,
        height_px=height_px,
        width_px=width_px,
        fps=fps,
        seed=seed,
        codec=codec,
        spread_shift=spread_shift,
    )
    out = pathlib.Path(os.path.abspath(out_dir))
    if _is_made(out, parameters):
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        partial.chmod(0o755)  # mkdtemp keeps others out
        _write(partial, parameters, num_workers)
        try:
            os.replace(partial, out)
        except OSError:
            # Another process may have made the same data set meanwhile.
            if not _is_made(out, parameters):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _described(parameters: Parameters) -> dict:
    return {"format": _FORMAT, **dataclasses.asdict(parameters)}


def _is_made(out: pathlib.Path, parameters: Parameters) -> bool:
    """True if `out` is this very data set, False if it is free; `InputError` otherwise."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / PARAMETERS_FILE).read_text())["parameters"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{out} exists and is no TempoBench data set; name another folder or remove it."
        ) from None
    wanted = _described(parameters)
    for key, value in wanted.items():
        if found.get(key) != value:
            raise InputError(
                f"{out} holds a TempoBench data set with {key}={found.get(key)!r}, not {value!r}; "
                "name another folder or remove it."
            )
    return True


def _write(root: pathlib.Path, parameters: Parameters, num_workers: int | None) -> None:
    videos = parameters.videos()
    for row in parameters.classes:
        (root / "videos" / row.name).mkdir(parents=True)
    p = parameters

    def make(video: Video) -> None:
        frames = scenes.render_video(
            video.scene, video.cycles_per_frame, p.num_frames, p.height_px, p.width_px
        )
        write_video(root / "videos" / video.path, frames, p.fps, p.codec)

    with concurrent.futures.ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:
        try:
            for done in [pool.submit(make, video) for video in videos]:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    names = [f"{i + 1} {row.name}\n" for i, row in enumerate(p.classes)]
    (lists / "classInd.txt").write_text("".join(names))
    train = [f"{v.path} {v.label + 1}\n" for v in videos if v.split == "train"]
    (lists / "trainlist01.txt").write_text("".join(train))
    test = [f"{v.path}\n" for v in videos if v.split == "test"]
    (lists / "testlist01.txt").write_text("".join(test))
    records = {v.path: tempo_record(v, p.fps) for v in videos}
    (root / TEMPO_FILE).write_text(json.dumps(records, indent=1) + "\n")
    made = {"parameters": _described(p), "classes": [dataclasses.asdict(r) for r in p.classes]}
    (root / PARAMETERS_FILE).write_text(json.dumps(made, indent=1) + "\n")
