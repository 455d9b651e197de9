"""The published datasets whose videos have several labels, see `tests/data/published.py`."""

from tests.data.publishing import Published, write

_EPIC_VERBS = """verb_id,class_key,verbs
0,take,"['take', 'grab', 'pick', 'grab-up']"
1,put,"['put', 'put-away']"
2,knife,['knife']
"""
_EPIC_NOUNS = """noun_id,class_key,nouns
0,Nothing,['Nothing']
1,pan,"['pan', 'pan:sauce']"
2,knife,"['knife', 'knife:mincing']"
3,board:chopping,"['board:chopping', 'board:cutting']"
"""
_EPIC_COLUMNS = (
    "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)


def epic55(root, write_video):
    labels, splits = [_EPIC_COLUMNS], {"training": [], "validation": []}
    uid = 0
    for person, video, split, count in (
        ("P01", "P01_02", "training", 5),
        ("P02", "P02_01", "training", 4),
        ("P01", "P01_01", "validation", 4),
    ):
        write_video(root / "videos" / person / f"{video}.MP4", 75, tint=uid)
        for i in range(count):
            verb, noun, start, stop = i % 3, i % 4, 0.14 + 0.5 * i, 0.94 + 0.5 * i
            labels.append(
                f'{uid},{person},{video},"take it, then go",00:00:{start:05.2f},00:00:{stop:05.2f},'
                f"{int(60 * start)},{int(60 * stop)},take,{verb},pan,{noun},"
                "\"['pan', 'knife']\",\"[1, 2]\""
            )
            splits[split].append(
                f"{uid:05d}, {video}, {int(30 * start):010d}, {int(30 * stop):010d}, {verb:03d}, "
                f"{noun:03d}, {4 * verb + noun:04d}"
            )
            uid += 1
    folder = root / "annotations"
    files = [
        write(folder / "EPIC_train_action_labels.csv", "\n".join(labels) + "\n"),
        write(folder / "EPIC_verb_classes.csv", _EPIC_VERBS),
        write(folder / "EPIC_noun_classes.csv", _EPIC_NOUNS),
        *(write(folder / f"{name}.csv", "\n".join(found)) for name, found in splits.items()),
    ]
    names = ("verb:take", "verb:put", "verb:knife",
             "noun:Nothing", "noun:pan", "noun:knife", "noun:board:chopping")  # fmt: skip
    return Published(
        {"videos_dir": root / "videos", "dataset": "epic55", "annotations": files},
        {"train": 9, "val": 4}, names, label_kind="joint",
    )  # fmt: skip


_CHARADES_COLUMNS = (
    "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
)
_CHARADES_CLASSES = ("Holding some clothes", "Putting clothes somewhere", "Someone is smiling")


def charades(root, write_video):
    folder, files = root / "Charades", []
    for split, count in (("train", 9), ("test", 5)):
        lines = [_CHARADES_COLUMNS]
        for i in range(count):
            video = f"{split[:2].upper()}{i:03d}"
            write_video(root / "Charades_v1_480" / f"{video}.mp4", 25, tint=i)
            actions = ["", "c001 0.00 0.60", "c002 0.10 0.90;c000 0.00 12.60"][i % 3]
            lines.append(
                f'{video},HR43,Bedroom,6,7,Yes,"A person sits, then says ""ha"".",bed;clothes,'
                f'"A person, smiling.",{actions},1.00'
            )
        files.append(write(folder / f"Charades_v1_{split}.csv", "\r\n".join(lines) + "\r\n"))
    text = "".join(f"c{k:03d} {name}\n" for k, name in enumerate(_CHARADES_CLASSES))
    write(folder / "Charades_v1_classes.txt", text)
    write(folder / "Charades_v1_verbclasses.txt", "v000 hold\n")
    return Published(
        {"videos_dir": root / "Charades_v1_480", "dataset": "charades", "annotations": [folder]},
        {"train": 9, "test": 5}, _CHARADES_CLASSES, label_kind="multi",
    )  # fmt: skip
