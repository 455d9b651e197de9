"""Each dataset's own syntax: what its lines give, the forms they come in, and lines that are wrong.

Starts from the fixtures of `published` and changes a line of one file.
"""

import functools
import json
import pathlib

import pytest

from tempo.data import readers
from tempo.errors import InputError
from tests.data import published

_V1 = "something-something-v1"


def touch(path, *args, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


@pytest.fixture
def make(tmp_path):
    """Writes a dataset; a function that changes a file of it, and one that reads it."""

    def call(name):
        made = published.FIXTURES[name].make(tmp_path, touch)

        def change(file, old, new):
            (path,) = [p for p in tmp_path.rglob(file) if p.is_file()]
            content = path.read_bytes().decode()
            assert old in content, content[:500]
            path.write_bytes(content.replace(old, new, 1).encode())
            return path

        return change, functools.partial(readers.read, **made.arguments)

    return call


def videos(scan, split="train"):
    return {video.id: video for video in scan.splits[split]}


def test_ucf101(make):
    change, read = make("ucf101")
    found = videos(read(split_number=3))
    assert "YoYo/v_YoYo_g01_c01.avi" in found and "YoYo/v_YoYo_g05_c01.avi" not in found
    video = found["HandstandPushups/v_HandstandPushups_g01_c01.avi"]
    assert (video.label, video.path) == (2, "HandstandPushups/v_HandStandPushups_g01_c01.avi")
    with pytest.raises(InputError, match=r"No split 4: .*--split-number can be 1, 2, 3"):
        read(split_number=4)
    # Labels in test lists, a byte order mark and blank lines change nothing.
    before = read()
    change("testlist02.txt", "g03_c01.avi\r\n", "g03_c01.avi 1\n\n")
    change("trainlist02.txt", "Apply", "\ufeffApply")
    assert read() == before


def test_hmdb51(make):
    _, read = make("hmdb51")
    scan = read()
    assert scan.class_names == ("brush_hair", "clap", "shoot_ball")
    clap = [v for v in videos(scan).values() if v.label == 1]
    assert [v.id for v in clap] == [
        f"clap/#20_Rhythm_clap_u_nm_np1_fr_goo_{i}.avi" for i in range(3)
    ]
    assert [v.path for v in clap] == [v.id for v in clap]
    # The last video of each class is in no split of number 1, and a test video of number 2.
    everywhere = {v.id for found in scan.splits.values() for v in found}
    assert "clap/#20_Rhythm_clap_u_nm_np1_fr_goo_5.avi" not in everywhere
    second = read(split_number=2)
    assert "clap/#20_Rhythm_clap_u_nm_np1_fr_goo_5.avi" in videos(second, "test")
    with pytest.raises(InputError, match=r"No split 4: .*--split-number can be 1, 2, 3"):
        read(split_number=4)


@pytest.mark.parametrize("name", ["kinetics400", "kinetics600", "kinetics700"])
def test_kinetics(make, name):
    change, read = make(name)
    scan = read()
    video = videos(scan)["-t1_2bcdXYZ_000006_000007"]
    assert scan.class_names[video.label] == "massaging person's head"
    is_clip = name != "kinetics700"
    assert (video.start_s, video.end_s) == ((0.0, None) if is_clip else (6.0, 7.0))
    # Times as fractions, another order of columns, and names as folders write them.
    change("train.csv", "6,7,train", "6.0,7.0,train")
    change("val.csv", '"massaging person\'s head"', "massaging person's head")
    assert read() == scan


def test_kinetics_without_labels_is_left_out_of_a_folder(make, tmp_path):
    _, read = make("kinetics400")
    published.write(
        tmp_path / "annotations/test.csv", "youtube_id,time_start,time_end,split\nx,0,9,test\n"
    )
    scan = read()
    assert read(annotations=[tmp_path / "annotations"]) == scan
    with pytest.raises(InputError, match=r"test.csv:1: .*'label' is not in"):
        read(annotations=[tmp_path / "annotations/test.csv"])


def test_kinetics_with_a_wrong_header_is_not_left_out_of_a_folder(make, tmp_path):
    change, read = make("kinetics400")
    published.write(tmp_path / "annotations/class_names.csv", "id,name\n0,abseiling\n")
    assert len(read(annotations=[tmp_path / "annotations"]).splits["train"]) == 9
    change("train.csv", "label,", "lable,")
    with pytest.raises(InputError, match=r"train.csv:1: .*'label' is not in"):
        read(annotations=[tmp_path / "annotations"])


def test_something_something(make, tmp_path):
    change, read = make("ssv1")
    scan = read()
    assert (scan.fps, scan.mirror_labels) == (12.0, (0, 2, 1))
    assert videos(scan)["105001"].path == "105001" and videos(scan)["105001"].label == 1
    change("something-something-v1-train.csv", "105000;", "\ufeff105000 ; ")
    # Other code sorts the labels; its list fixes that order.
    names = sorted(scan.class_names, reverse=True)
    published.write(tmp_path / "category.txt", "\r\n".join(names))
    again = read(classes=tmp_path / "category.txt")
    assert list(again.class_names) == names
    assert (videos(again)["105001"].label, again.mirror_labels) == (1, (1, 0, 2))


def test_something_something_2(make, tmp_path):
    _, read = make("ssv2")
    scan = read()
    assert scan.mirror_labels == (0, 2, 1)
    assert videos(scan)["74226"].path == "74226.webm" and videos(scan)["74226"].label == 1
    # The names of the first release; the list without labels was given by name.
    labels = tmp_path / "labels"
    for name in ("train", "validation", "labels"):
        (labels / f"{name}.json").rename(labels / f"something-something-v2-{name}.json")
    (labels / "test-answers.csv").unlink()
    again = read()
    assert again.splits["train"] == scan.splits["train"] and list(again.splits) == ["train", "val"]
    with pytest.raises(InputError, match=r"test.json:1: item 1: no template"):
        files = sorted(labels.glob("something*.json"))
        read(annotations=[*files, labels / "test.json"])


@pytest.mark.parametrize(
    ("name", "file", "good", "bad"),
    [
        ("ssv2", "test.json", '[{"id":"1420"},{"id":"1421"}]', '[{"id":"1420"},{"id":"14'),
        ("ssv2", "test.json", "[]", '[{"id":"1"},{"id":"2","template":"Pushing [something]"}]'),
        ("ssv1", f"{_V1}-test.csv", "9001\n9002\n", "9001;Pushing something\n9002\n"),
    ],
)
def test_only_a_list_without_labels_is_left_out(make, tmp_path, name, file, good, bad):
    _, read = make(name)
    (path,) = tmp_path.rglob(file)
    path.write_text(good)
    scan = read()
    assert len(scan.splits["train"]) == 9
    path.write_text(bad)
    with pytest.raises(InputError, match=file):
        read()


def test_moments(make):
    _, read = make("moments")
    scan = read()
    assert scan.class_names[1] == "adult+male+singing"
    video = videos(scan, "val")["val/clapping/yt-5of6ffo6-Bw_1.mp4"]
    assert (video.path, video.label) == ("validation/clapping/yt-5of6ffo6-Bw_1.mp4", 0)


def test_hacs(make):
    change, read = make("hacs")
    scan = read()
    # Of three clips the second has the label -1; those of the testing subset have none.
    found = [v for v in videos(scan).values() if v.label == 2]
    assert [v.id for v in found] == [
        "ironing_clothes/t2X2hz1G6i8_0.0_1.0",
        "ironing_clothes/t2X2hz1G6i8_1.0_2.0",
    ]
    assert {v.path for v in found} == {"Ironing_clothes/v_t2X2hz1G6i8.mp4"}
    assert [(v.start_s, v.end_s) for v in found] == [(0.0, 1.0), (1.0, 2.0)]
    assert list(scan.splits) == ["train", "val"]
    # One clip, however its times are written.
    change("HACS_clips_v1.1.1.csv", "training,0.0,1.0,1\n",
           "training,0.0,1.0,1\nApplying sunscreen,t0X2hz1G6i8,training,0,1,1\n")  # fmt: skip
    again = read()
    assert again.splits == scan.splits and again.num_repeated == 1


def test_epic_kitchens(make, tmp_path):
    _, read = make("epic55")
    scan = read()
    assert scan.label_kind == "joint" and scan.label_groups == {"verb": 3, "noun": 4}
    assert scan.class_names[:4] == ("verb:take", "verb:put", "verb:knife", "noun:Nothing")
    video = videos(scan)["P01_02_1"]
    assert (video.path, video.label) == ("P01/P01_02.MP4", (1, 3 + 1))
    assert (video.start_s, video.end_s) == pytest.approx((0.64, 1.44))
    files = {path.name: path for path in (tmp_path / "annotations").iterdir()}
    named = [files["EPIC_verb_classes.csv"], files["EPIC_noun_classes.csv"]]
    splits = [files["training.csv"], files["validation.csv"]]
    labels = files["EPIC_train_action_labels.csv"]
    # Without a split all is for training; without the labels' file, times are frames at 30 Hz.
    alone = read(annotations=[*named, labels])
    assert {k: len(v) for k, v in alone.splits.items()} == {"train": 13}
    framed = videos(read(annotations=[*named, *splits]))["P01_02_1"]
    assert (framed.start_s, framed.end_s) == pytest.approx((19 / 30, 43 / 30))
    # Lists of videos say the same as lists of segments, and both may be in one folder.
    published.write(tmp_path / "annotations/training_videos.csv", "P01_02\nP02_01\n")
    published.write(tmp_path / "annotations/validation_videos.csv", "P01_01\n")
    by_video = [tmp_path / f"annotations/{n}_videos.csv" for n in ("training", "validation")]
    assert read(annotations=[*named, labels, *by_video]).splits.keys() == scan.splits.keys()
    assert read(annotations=[tmp_path / "annotations"]) == scan
    published.write(by_video[1], "P01_01\nP09_09\n")
    with pytest.raises(InputError, match=r"validation_videos.csv:2: 'P09_09' is in no row"):
        read(annotations=[*named, labels, *by_video])


def test_a_noun_of_epic_kitchens_may_be_unknown(make):
    change, read = make("epic55")
    change("EPIC_train_action_labels.csv", ",take,1,pan,1,", ",take,1,pan,-1,")
    change("training.csv", "001, 001, 0005", "001, -1, -001")
    assert videos(read())["P01_02_1"].label == (1, -1)


def test_epic_kitchens_as_frames(make, tmp_path):
    _, read = make("epic55")
    for video in ("P01_01", "P01_02", "P02_01"):
        (tmp_path / "videos" / video[:3] / f"{video}.MP4").unlink()
        touch(tmp_path / "videos" / video[:3] / video / "frame_0000000001.jpg")
    scan = read()
    assert scan.fps == 60.0
    assert videos(scan)["P02_01_5"].path == "P02/P02_01"


def test_charades(make):
    change, read = make("charades")
    found = videos(read())
    assert [found[f"TR00{i}"].label for i in range(3)] == [(), (1,), (0, 2)]
    # An action twice is one label; a missing one at the end is nothing.
    change("Charades_v1_train.csv", "c001 0.00 0.60", "c001 0.00 0.60;c001 0.70 0.90;")
    assert videos(read())["TR001"].label == (1,)


def test_lists_of_other_libraries(make, tmp_path):
    change, read = make("mmaction_videos")
    scan = read()
    assert scan.class_names == ("brushing teeth", "yoga", "zumba")  # as the folders are called
    first = tmp_path / "data" / "brushing teeth" / "train 0.mp4"
    change("train.txt", "brushing teeth/train 0.mp4 0", f"{first}\t0\r")
    change("train.txt", "yoga/train 1.mp4", "./yoga//train 1.mp4")
    assert read() == scan
    # A folder with two labels names no class.
    change("train.txt", "zumba/train 0.mp4 2", "zumba/train 0.mp4 1")
    assert read().class_names == ("0", "1", "2")
    published.write(tmp_path / "names.txt", "a\nb\nc\nd\n")
    assert read(classes=tmp_path / "names.txt").class_names == ("a", "b", "c", "d")


def test_lists_of_slowfast_may_have_commas(make):
    change, read = make("slowfast")
    scan = read()
    change("train.csv", "yoga/train 0.mp4 1", '"yoga/train 0.mp4", 1')
    change("train.csv", "yoga/train 1.mp4 1", "yoga/train 1.mp4,1")
    assert read() == scan


def test_lists_of_frame_folders(make):
    change, read = make("mmaction_frames")
    scan = read()
    assert videos(scan)["yoga/train 1"].path == "yoga/train 1"
    assert videos(scan)["yoga/train 1"].metadata == {"stated_num_frames": 11}
    change("train.txt", "yoga/train 2 12 1", "yoga/train 2/ 1")  # without the number of frames
    assert videos(read())["yoga/train 2"].metadata == {}
    change("train.txt", "yoga/train 1 11 1", "yoga/train 1 1")
    with pytest.raises(InputError, match="1 of 15 listed videos are not below .*: yoga/train;"):
        read()  # the number of frames may be left out, but not if the name ends with a number


def test_lists_of_several_labels(make):
    change, read = make("mmaction_multilabel")
    assert videos(read())["yoga/train 0.mp4"].label == (1, 2)
    change("train.txt", "yoga/train 0.mp4 1 2", "yoga/train 0.mp4 3 0 3")
    change("train.txt", "yoga/train 1.mp4 1 2", "yoga/train 1.mp4")
    found = videos(read())
    assert found["yoga/train 0.mp4"].label == (0, 3)
    assert found["yoga/train 1.mp4"].label == ()


_EPIC = "EPIC_train_action_labels.csv"


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("ucf101", "trainlist02.txt", "v_ApplyEyeMakeup_g01_c01.avi 1",
         "v_ApplyEyeMakeup_g01_c01.avi 2", "trainlist02.txt:1: 'ApplyEyeMakeup' has number 1"),
        ("ucf101", "testlist02.txt", "YoYo/", "Yo-Yo/",
         "testlist02.txt:7: class 'Yo-Yo' is not in"),
        ("ucf101", "testlist02.txt", "YoYo/", "", "testlist02.txt:7: expected '<Class>/<video>'"),
        ("ucf101", "classInd.txt", "4 YoYo", "5 YoYo", "numbers must be 1 to 4, each once"),
        ("mod_ucf101", "trainlist01.txt", "YoYo/", "Yo-Yo/", "trainlist01.txt:16: class 'Yo-Yo'"),
        ("hmdb51", "clap_test_split1.txt", "_1.avi 1 ", "_1.avi 3",
         "split1.txt:2: expected '<video> <0"),
        ("hmdb51", "clap_test_split1.txt", "_1.avi 1 ", "_1.avi",
         "split1.txt:2: expected '<video> <0"),
        ("kinetics400", "train.csv", "time_start", "start",
         "train.csv:1: .*'time_start' is not in"),
        ("kinetics400", "train.csv", "abseiling,-t0_0bcdXYZ,0,1", "abseiling,-t0_0bcdXYZ,0",
         "train.csv:2: expected 6 cells .*; found 5"),
        ("kinetics400", "train.csv", "bcdXYZ,0,1", "bcdXYZ,zero,1",
         "train.csv:2: expected time_start"),
        ("kinetics400", "train.csv", "bcdXYZ,0,1", "bcdXYZ,1,1",
         "train.csv:2: expected time_end after"),
        ("kinetics400", "train.csv", "1,train", "1,tarin",
         "train.csv:2: expected a split .*'tarin'"),
        ("kinetics400", "train.csv", "abseiling,", ",", "train.csv:2: expected a label"),
        ("kinetics400", "train.csv", '"massaging person\'s head"', '"massaging', "comma-separated"),
        ("ssv1", f"{_V1}-train.csv", ";Pushing something from left", ";Pushing nothing from left",
         "train.csv:2: class 'Pushing nothing .*Did you mean 'Pushing something from left"),
        ("ssv1", f"{_V1}-train.csv", "105001;", "105001,", "train.csv:2: expected '<id>;<label>'"),
        ("ssv1", f"{_V1}-train.csv", "105001;", "105000;", "train.csv:2: '105000' is listed twice"),
        ("ssv1", f"{_V1}-labels.csv", "right to left", "left to right", "has the class .* twice"),
        ("ssv2", "train.json", '"template":"Pushing', '"template":"Rolling',
         "train.json:2: class 'Rolling"),
        ("ssv2", "train.json", '"id":"74226",', "", "train.json:2: item 2: expected {id, template"),
        ("ssv2", "train.json", "},", "}", "train.json:3: not JSON"),
        ("ssv2", "labels.json", '"2"', '"7"', "labels.json': the numbers must be 0 to 2"),
        ("moments", "trainingSet.csv", "_1.mp4,clapping", "_1.mp4,claping",
         "trainingSet.csv:2: class 'claping' .*Did you mean 'clapping'"),
        ("moments", "trainingSet.csv", "_1.mp4,clapping,4,1", "_1.mp4",
         "trainingSet.csv:2: expected '<cl"),
        ("moments", "moments_categories.txt", "piloting,2", "piloting,4", "numbers must be 0 to 2"),
        ("hacs", "HACS_clips_v1.1.1.csv", "1.0,1\n", "1.0,yes\n",
         "csv:2: expected a label of 1 or -1"),
        ("hacs", "HACS_clips_v1.1.1.csv", "0.0,1.0,1\n", "2.0,1.0,1\n",
         "csv:2: expected an end after"),
        ("hacs", "HACS_clips_v1.1.1.csv", "training", "learning", "csv:2: expected a split"),
        ("epic55", _EPIC, "00:00:00.14", "0:00:0O.14", f"{_EPIC}:2: expected a start time"),
        ("epic55", _EPIC, "take,2,pan", "take,3,pan",
         "verb 3 is not in EPIC_verb_classes.csv .0 to 2"),
        ("epic55", _EPIC, "pan,3,", "pan,4,", "noun 4 is not in EPIC_noun_classes.csv .0 to 3"),
        ("epic55", _EPIC, "\n1,P01",
         "\n0,P01", f"{_EPIC}:3: uid 0 is listed twice, first at line 2"),
        ("epic55", _EPIC, "verb_class", "verbclass", f"{_EPIC}:1: .*'verb_class' is not in"),
        ("epic55", "training.csv", "00001, ", "99999, ", "training.csv:2: uid 99999 is not in"),
        ("epic55", "training.csv", "001, 001, 0005", "001, 002, 0005",
         "training.csv:2: uid 1 is P01_02, verb 1, noun 1 in the labels' file"),
        ("epic55", "training.csv", ", 0005", "", "training.csv:2: expected '<uid>, <video>"),
        ("epic55", "EPIC_noun_classes.csv", "\n3,", "\n4,", "numbers must be 0 to 3"),
        ("charades", "Charades_v1_train.csv", "c001 0.00", "c003 0.00", "csv:3: label 3 is not in"),
        ("charades", "Charades_v1_train.csv", "c001 0.00 0.60", "c001 0.00",
         "csv:3: expected actions"),
        ("charades", "Charades_v1_train.csv", ",actions,", ",labels,", "'actions' is not in"),
        ("charades", "Charades_v1_train.csv", "TR001,", ",", "csv:3: expected an id"),
        ("charades", "Charades_v1_classes.txt", "c001", "c004",
         "classes.txt:2: expected 'c001 <class>'"),
        ("mmaction_videos", "train.txt", "train 1.mp4 0", "train 1.mp4",
         "train.txt:2: expected '<path> "),
        ("mmaction_videos", "train.txt", "train 1.mp4 0", "train 1.mp4 0 1",
         "train.txt:2: expected '<path> "),
        ("mmaction_videos", "train.txt", "train 1.mp4 0", "train 1.mp4 999999999", "is too large"),
        ("mmaction_videos", "train.txt", "brushing teeth/train 1", "/far/train 1",
         "train.txt:2: '/far/train 1.mp4' is not below --videos"),
        ("mmaction_frames", "train.txt", "train 1 11 0", "train",
         "train.txt:2: expected '<folder>"),
        ("slowfast", "train.csv", "train 1.mp4 0", "train 1.mp4 -1",
         "train.csv:2: expected '<path>"),
        ("slowfast", "train.csv", "brushing teeth/train 1.mp4 0", "0",
         "train.csv:2: expected '<path>"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(make, name, file, old, new, message):
    change, read = make(name)
    change(file, old, new)
    with pytest.raises(InputError, match=message) as error:
        read()
    assert "\n" not in str(error.value)


def test_labels_outside_a_list_of_classes(make, tmp_path):
    _, read = make("slowfast")
    published.write(tmp_path / "names.txt", "a\nb\n")
    message = r"train.csv:7: label 2 is not in .*names.txt, which has 0 to 1"
    with pytest.raises(InputError, match=message):
        read(classes=tmp_path / "names.txt")


def test_json_lists_of_another_kind(make):
    _, read = make("ssv2")
    path = pathlib.Path(read.keywords["annotations"][0]) / "train.json"
    path.write_text(json.dumps({"74225": "Pushing something"}))
    with pytest.raises(InputError, match=r"train.json:1: expected a list of"):
        read()
