"""Every dataset in the layout and syntax of its publication, a few tiny videos of each.

`FIXTURES[name].make(root, write_video)` writes one and says how to read it and what it holds. The
names of files, the order of columns, the quotes and the line ends are those of the originals.
"""

import json

from tests.data import published_labels
from tests.data.publishing import Fixture, Published, write, write_frames


def _folder(root, write_video):
    for k, name in enumerate(("jump", "run", "swim")):
        for i in range(5):
            write_video(root / name / f"clip {i}.mp4", 10 + i, tint=5 * k + i)
    return Published({"videos_dir": root, "dataset": "folder"}, {"train": 12, "test": 3},
                     ("jump", "run", "swim"))  # fmt: skip


def _frame_folders(root, write_video):
    for split, count in (("train", 4), ("val", 2)):
        for k, name in enumerate(("jump", "run")):
            for i in range(count):
                write_frames(root / split / name / f"v{i}", 10 + i, "img_{:05d}.jpg", 5 * k + i)
    return Published({"videos_dir": root, "dataset": "frame_folders"}, {"train": 8, "val": 4},
                     ("jump", "run"), is_frames=True)  # fmt: skip


UCF_CLASSES = ("ApplyEyeMakeup", "Archery", "HandstandPushups", "YoYo")


def write_ucf_lists(lists, classes, clips, is_train):
    """The seven files of a `ucfTrainTestlist`; split n tests the groups that `is_train` refuses."""
    write(lists / "classInd.txt", "".join(f"{k + 1} {n}\r\n" for k, n in enumerate(classes)))
    for number in (1, 2, 3):
        train, test = [], []
        for k, name in enumerate(classes):
            for group in clips:
                video = f"{name}/v_{name}_g{group:02d}_c01.avi"
                if is_train(group, number):
                    train.append(f"{video} {k + 1}\r\n")
                else:
                    test.append(f"{video}\r\n")
        write(lists / f"trainlist{number:02d}.txt", "".join(train))
        write(lists / f"testlist{number:02d}.txt", "".join(test))


def _ucf101(root, write_video):
    lists = root / "ucfTrainTestlist"
    write_ucf_lists(lists, UCF_CLASSES, range(1, 8), lambda g, n: g not in (2 * n - 1, 2 * n))
    for name in UCF_CLASSES:
        for group in range(1, 8):
            # Of this class the files are spelt in another way than in the lists.
            stem = name.replace("HandstandPushups", "HandStandPushups")
            write_video(root / "UCF-101" / name / f"v_{stem}_g{group:02d}_c01.avi", 12, tint=group)
    return Published(
        {"videos_dir": root / "UCF-101", "dataset": "ucf101", "annotations": [lists],
         "split_number": 2},
        {"train": 20, "test": 8}, UCF_CLASSES,
    )  # fmt: skip


def _mod_ucf101(root, write_video):
    found = _ucf101(root, write_video).arguments
    # The numbers 1 to 4 shuffled with the seed 1992 are 1, 4, 2, 3.
    return Published(
        {**found, "dataset": "mod_ucf101", "split_number": 1},
        {"train": 12, "val": 8, "test": 8},
        ("ApplyEyeMakeup", "HandstandPushups", "YoYo", "Archery"),
    )  # fmt: skip


HMDB_VIDEOS = {
    "brush_hair": "April_09_brush_hair_u_nm_np1_ba_goo_{}.avi",
    "clap": "#20_Rhythm_clap_u_nm_np1_fr_goo_{}.avi",
    "shoot_ball": "(HQ)_Rich!&_co;_shoot_ball_u_cm_np1_ba_med_{}.avi",
}


def _hmdb51(root, write_video):
    for name, pattern in HMDB_VIDEOS.items():
        for i in range(6):
            write_video(root / "hmdb51_org" / name / pattern.format(i), 12, tint=i)
        for number in (1, 2, 3):
            uses = [1, 1, 1, 2, 2, 0] if number == 1 else [2, 0, 1, 1, 1, 2]
            text = "".join(f"{pattern.format(i)} {use} \r\n" for i, use in enumerate(uses))
            write(root / "testTrainMulti_7030_splits" / f"{name}_test_split{number}.txt", text)
    return Published(
        {"videos_dir": root / "hmdb51_org", "dataset": "hmdb51",
         "annotations": [root / "testTrainMulti_7030_splits"]},
        {"train": 9, "test": 6}, tuple(HMDB_VIDEOS),
    )  # fmt: skip


KINETICS_CLASSES = ("abseiling", "massaging person's head", "passing American football (in game)")


def _kinetics_rows():
    """Split, label, id and start of each video."""
    for split, count in (("train", 3), ("val", 2)):
        for k, name in enumerate(KINETICS_CLASSES):
            for i in range(count):
                yield split, name, f"-{split[0]}{k}_{i}bcdXYZ", 3 * i


def _kinetics(dataset, header, folder, num_frames, is_clip):
    def make(root, write_video):
        lines = {"train": [header], "val": [header]}
        for tint, (split, name, video, start) in enumerate(_kinetics_rows()):
            quoted = f'"{name}"' if " " in name else name
            word = {"val": "validate"}.get(split, split) if dataset != "kinetics400" else split
            tail = ",0" if header.endswith("is_cc") else ""
            lines[split].append(f"{quoted},{video},{start},{start + 1},{word}{tail}")
            clip = f"{video}_{start:06d}_{start + 1:06d}.mp4" if is_clip else f"{video}.mp4"
            place = root / "videos" / folder.format(split=split, label=name) / clip
            write_video(place, num_frames(start), tint=tint)
        for split, found in lines.items():
            write(root / "annotations" / f"{split}.csv", "\n".join(found) + "\n")
        annotations = [root / "annotations" / f"{split}.csv" for split in lines]
        return Published(
            {"videos_dir": root / "videos", "dataset": dataset, "annotations": annotations},
            {"train": 9, "val": 6}, KINETICS_CLASSES,
        )  # fmt: skip

    return make


SOMETHING_CLASSES = (
    "Letting something roll up a slanted surface, so it rolls back down",
    "Pushing something from left to right",
    "Pushing something from right to left",
)
_PUSHING = "Pushing [something] from {} to {}"
_TEMPLATES = (
    "Letting [something] roll up a slanted surface, so it rolls back down",
    _PUSHING.format("left", "right"),
    _PUSHING.format("right", "left"),
)


def _ssv1(root, write_video):
    name, lines = "something-something-v1", {"train": [], "validation": []}
    for split, count in (("train", 9), ("validation", 5)):
        for i in range(count):
            video = str(100000 + 1000 * len(split) + i)
            write_frames(root / f"20bn-{name}" / video, 10 + i % 3, tint=i)
            lines[split].append(f"{video};{SOMETHING_CLASSES[i % 3]}\n")
    labels = root / "labels"
    for split, found in lines.items():
        write(labels / f"{name}-{split}.csv", "".join(found))
    write(labels / f"{name}-labels.csv", "\n".join(SOMETHING_CLASSES) + "\n")
    write(labels / f"{name}-test.csv", "9001\n9002\n")  # no labels are published
    return Published(
        {"videos_dir": root / f"20bn-{name}", "dataset": "ssv1", "annotations": [labels]},
        {"train": 9, "val": 5}, SOMETHING_CLASSES, is_frames=True,
    )  # fmt: skip


def _ssv2(root, write_video):
    videos, labels = root / "20bn-something-something-v2", root / "labels"
    for split, first, count in (("train", 74225, 9), ("validation", 78687, 5), ("test", 1420, 2)):
        items, answers = [], []
        for i in range(count):
            video = str(first + i)
            write_video(videos / f"{video}.webm", 10, codec="libvpx-vp9", tint=i)
            items.append(
                {"id": video, "label": f"pushing cup {i}", "template": _TEMPLATES[i % 3],
                 "placeholders": ["cup"]} if split != "test" else {"id": video}
            )  # fmt: skip
            answers.append(f"{video};{SOMETHING_CLASSES[i % 3]}\n")
        lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)
        write(labels / f"{split}.json", f"[\n{lines}\n]\n")
    write(labels / "test-answers.csv", "".join(answers))
    write(labels / "labels.json", json.dumps({n: str(k) for k, n in enumerate(SOMETHING_CLASSES)}))
    return Published(
        {"videos_dir": videos, "dataset": "ssv2", "annotations": [labels]},
        {"train": 9, "val": 5, "test": 2}, SOMETHING_CLASSES,
    )  # fmt: skip


def _moments(root, write_video):
    classes = ("clapping", "adult+male+singing", "piloting")  # in the order of their numbers
    top = root / "Moments_in_Time_Raw"
    for split, count in (("training", 3), ("validation", 2)):
        lines = []
        for k, name in enumerate(classes):
            for i in range(count):
                video = f"{name}/yt-5of6ffo6-Bw_{i}.mp4"  # one name in both splits
                write_video(top / split / video, 12, tint=3 * k + i)
                lines.append(f"{video},{name},{3 + i},{i}\n")
        write(top / f"{split}Set.csv", "".join(lines))
    write(top / "moments_categories.txt", "".join(f"{n},{k}\n" for k, n in enumerate(classes)))
    files = ("trainingSet.csv", "validationSet.csv", "moments_categories.txt")
    return Published(
        {"videos_dir": top, "dataset": "moments", "annotations": [top / f for f in files]},
        {"train": 9, "val": 6}, classes,
    )  # fmt: skip


def _hacs(root, write_video):
    classes = ("Applying sunscreen", "Archery", "Ironing clothes")
    lines = ["classname,youtube_id,subset,start,end,label"]
    for k, name in enumerate(classes):
        for subset in ("training", "validation"):
            video = f"{subset[0]}{k}X2hz1G6i8"
            write_video(root / "videos" / name.replace(" ", "_") / f"v_{video}.mp4", 60, tint=k)
            for i in range(3):
                start = 0.5 * i
                lines.append(f"{name},{video},{subset},{start},{start + 1.0},{-1 if i == 1 else 1}")
        lines.append(f"{name},unpublished{k},testing,2.0,4.0,")
    listed = write(root / "HACS_v1.1.1" / "HACS_clips_v1.1.1.csv", "\n".join(lines) + "\n")
    return Published(
        {"videos_dir": root / "videos", "dataset": "hacs", "annotations": [listed]},
        {"train": 6, "val": 6}, classes,
    )  # fmt: skip


def _listed(dataset, line, *, splits=("train", "val"), suffix=".txt", **about):
    """A dataset of lists whose lines are made by `line(path, number of frames, label)`."""

    def make(root, write_video):
        counts = {}
        for split, count in zip(splits, (3, 2, 1), strict=False):
            lines = []
            for k, name in enumerate(("brushing teeth", "yoga", "zumba")):
                for i in range(count):
                    path = f"{name}/{split} {i}"
                    if about.get("is_frames"):
                        write_frames(root / "data" / path, 10 + i, "img_{:05d}.jpg", 3 * k + i)
                    else:
                        path += ".mp4"
                        write_video(root / "data" / path, 10 + i, tint=3 * k + i)
                    lines.append(line(path, 10 + i, k) + "\n")
            counts[split] = 3 * count
            write(root / f"{split}{suffix}", "".join(lines))
        lists = [root / f"{split}{suffix}" for split in splits]
        names = ("brushing teeth", "yoga", "zumba")
        if about.get("label_kind") == "multi":
            names = ("0", "1", "2", "3")
        return Published(
            {"videos_dir": root / "data", "dataset": dataset, "annotations": lists},
            counts, names, **about,
        )  # fmt: skip

    return make


_CC = "label,youtube_id,time_start,time_end,split,is_cc"
FIXTURES = {
    name: Fixture(make)
    for name, make in {
        "folder": _folder,
        "frame_folders": _frame_folders,
        "ucf101": _ucf101,
        "mod_ucf101": _mod_ucf101,
        "hmdb51": _hmdb51,
        # Clips in class folders, clips without, and whole videos: all are in use.
        "kinetics400": _kinetics("kinetics400", _CC, "{split}/{label}", lambda _: 12, True),
        "kinetics600": _kinetics("kinetics600", _CC[:-6], "{split}", lambda _: 12, True),
        "kinetics700": _kinetics(
            "kinetics700", _CC[:-6], "{label}", lambda start: 25 * start + 30, False
        ),
        "ssv1": _ssv1,
        "ssv2": _ssv2,
        "moments": _moments,
        "hacs": _hacs,
        "epic55": published_labels.epic55,
        "charades": published_labels.charades,
        "mmaction_videos": _listed("mmaction_videos", lambda path, n, k: f"{path} {k}"),
        "mmaction_frames": _listed(
            "mmaction_frames", lambda path, n, k: f"{path} {n} {k}", is_frames=True
        ),
        "mmaction_multilabel": _listed(
            "mmaction_multilabel", lambda path, n, k: f"{path} {k} {k + 1}", label_kind="multi"
        ),
        "slowfast": _listed(
            "slowfast", lambda path, n, k: f"{path} {k}",
            splits=("train", "val", "test"), suffix=".csv",
        ),
    }.items()
}  # fmt: skip
