"""Videos whose frames say a number, and a stub network that reads it from the pixels."""

import fractions
import json

import av
import jax
import jax.numpy as jnp
import numpy as np

from tempo import sharding
from tempo import task as tasks
from tempo.data import pipeline
from tempo.data.builders import records as builder
from tempo.evaluators.evaluator import Evaluator
from tempo.evaluators.streaming import Scorer
from tempo.types import ClipSpec, ViewSpec

FPS = 10
T = 4
STEP = 5  # grey levels between neighbouring numbers, 0 to 45
VIEW = ViewSpec(short_side_px=32, size_px=32)


def write_video(path, numbers, times_ms=None):
    """A video of grey frames of these numbers; `times_ms` makes the frame rate variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS, options={"qmin": "2", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for i, number in enumerate(numbers):
            picture = np.full((32, 48, 3), 20 + STEP * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", threads=1)
            frame.pts = round(i * 1000 / FPS) if times_ms is None else times_ms[i]
            frame.time_base = fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_records(root, test_videos, facts=None, kind="frames"):
    """Records of videos `(class, numbers[, times_ms])`, all in `test`; one of each class to train.

    `facts` are known of test videos, by their place.
    """
    names = sorted({name for name, *_ in test_videos})
    lists = root / "tree" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{i + 1} {n}\n" for i, n in enumerate(names)))
    known, lines = {}, {"train": [], "test": []}
    videos = [("train", i, name, range(12)) for i, name in enumerate(names)]
    videos += [("test", i, *video) for i, video in enumerate(test_videos)]
    for split, i, name, *content in videos:
        path = f"{name}/v_{split}_{i:02d}.mp4"
        write_video(root / "tree" / "videos" / path, *content)
        lines[split].append(f"{path} {names.index(name) + 1}\n")
        if split == "test" and facts and i in facts:
            known[path] = facts[i]
    (root / "tree" / "tempo.json").write_text(json.dumps(known))
    for split, rows in lines.items():
        (lists / f"{split}list01.txt").write_text("".join(rows))
    builder.build(root / "tree", root / "records", kind=kind, short_side_px=0, progress=False)
    return pipeline.open_records(root / "records")


def numbers(video):
    """Clips `[B,T,H,W,C]` -> the numbers of their frames, float32 `[B,T]`."""
    level = jnp.asarray(video).astype(jnp.float32).mean((2, 3, 4))
    return jnp.round((level - 20) / STEP)


def read_numbers(variables, video):
    """A network whose K = T scores are the numbers of the clip's frames."""
    return {"logits": numbers(video) + variables, "embedding": numbers(video)[:, :2]}


def scorer(records, predict=read_numbers, *, num_classes=T, label_kind="single", **changed):
    """A scorer of the test split."""
    mesh = sharding.make_mesh()
    settings = {
        "records": records,
        "split": "test",
        "task": tasks.create(label_kind, num_classes),
        "mesh": mesh,
        "clip": ClipSpec(num_frames=T, stride=2),
        "view": VIEW,
        "extra_frames": 0,
        "batch_size": 4,
        "num_workers": 2,
        "worker_kind": "thread",
    }
    settings |= changed

    def with_probs(variables, video):
        found = predict(variables, video)
        return {**found, "probs": settings["task"].probs(found["logits"])}

    whole = jax.jit(with_probs, out_shardings=sharding.replicated(mesh))
    return Scorer("test", whole, **settings)


def evaluated(kind, scorer, folder, variables=0.0, step=5):
    """(row, scores file) of a run."""
    row = Evaluator("test", kind, scorer, every_epochs=0, scores_dir=str(folder)).run(
        variables, step
    )
    with np.load(folder / "test.npz") as f:
        return row, dict(f)
