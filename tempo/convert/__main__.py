"""`python -m tempo.convert`: public weights become a checkpoint of ours, and ours a public one.

    python -m tempo.convert --source mmaction2 --input tpn.pth --out weights/tpn
    python -m tempo.convert --to mmaction2 --checkpoint runs/x --out x.pth
    python -m tempo.convert --to tempo --checkpoint runs/x --out weights/x
    python -m tempo.convert --fuse --checkpoint runs/x --out weights/x_fused

Exit status: 0 done, 2 bad input or weights that do not fit.
"""

import argparse
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tempo.errors import InputError, lookup

_OURS = "tempo"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    given = vars(_parser().parse_args(argv))
    try:
        asked = [name for name in _RUNS if name in given]
        if len(asked) != 1:
            raise InputError(
                "Say --source NAME --input FILE --out DIR, --to mmaction2 --checkpoint DIR --out "
                "FILE, --to tempo --checkpoint DIR --out DIR, or --fuse --checkpoint DIR --out DIR."
            )
        _RUNS[asked[0]](given, shlex.join(["python", "-m", "tempo.convert", *argv]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _check_place(out: str) -> None:
    """Raises `InputError` unless something can be made at `out`."""
    place = os.path.dirname(os.path.abspath(out))
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            f"Cannot write to {out!r}: {place!r} is no folder that can be written to; choose "
            "another --out."
        )


@contextlib.contextmanager
def _writing(out: str) -> Iterator[None]:
    """Turns the errors of a disk into an `InputError`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"Cannot write to {out!r}: {why}; choose another --out.") from error


def _incoming(given: dict[str, Any], command: str) -> None:
    _need(given, ("input",), ("checkpoint",))
    # After parsing, so that --help and a mistyped flag answer at once.
    from tempo import checkpoint, pretrained
    from tempo.convert import comparison, incoming

    _check_place(given["out"])
    checkpoint.check_replaceable(given["out"])
    classes = incoming.read_classes(given["classes"]) if "classes" in given else None
    clip = {k: given[k] for k in ("num_frames", "stride", "sampling") if k in given}
    names = {"num_clips": "num_clips", "crop": "crop", "short_side": "short_side_px"}
    view = {field: given[flag] for flag, field in names.items() if flag in given}
    view |= {"size_px": given["crop_size"]} if "crop_size" in given else {}
    own = {k: given[k] for k in ("mean", "std", "size_px") if k in given}
    conversion = incoming.read(
        given["source"],
        given["input"],
        model=_model(given["model"]) if "model" in given else None,
        neck={k: given[k] for k in ("flow", "alphas") if k in given},
        partial=given.get("partial", ()),
        classes=classes,
        inflation=given.get("inflate", "repeat"),
        settings=incoming.Settings(clip=clip, view=view, **own),
        skip_unknown=given.get("ignore_objects", False),
        command=command,
    )
    print(comparison.table(conversion.comparison))
    for note in conversion.notes:
        print(f"note       {note}")
    comparison.check(conversion.comparison, given["input"])
    with _writing(given["out"]):
        pretrained.save_model(given["out"], conversion.variables, conversion.info)
    print(_summary(given["out"], conversion.info))


def _outgoing(given: dict[str, Any], command: str) -> None:
    useless = ("input", "model", "classes", "flow", "alphas", "inflate")
    _need(given, ("checkpoint",), useless)
    from tempo.convert import outgoing, tensor_files

    lookup({_OURS: None, **outgoing.TARGETS}, given["to"], "format (--to)")
    if given["to"] == _OURS:
        _need(given, (), ("partial",), f"--to {_OURS}")
        return _weights_alone(given, command)
    _check_place(given["out"])
    tensor_files.check_path(given["out"])
    export = outgoing.read(given["checkpoint"], to=given["to"], partial=given.get("partial", ()))
    with _writing(given["out"]):
        outgoing.write(export, given["out"])
    for leaf in export.left_out:
        print(f"left out   {leaf}")
    for note in export.notes:
        print(f"note       {note}")
    print(f"wrote      {given['out']}: {len(export.arrays)} entries")


def _weights_alone(given: dict[str, Any], command: str) -> None:
    from tempo import checkpoint, pretrained, trees
    from tempo.convert import weights_alone

    _check_place(given["out"])
    checkpoint.check_replaceable(given["out"])
    found = weights_alone.read(given["checkpoint"], command=command)
    with _writing(given["out"]):
        pretrained.save_model(given["out"], found.variables, found.info)
    count = trees.count_params(found.variables["params"])
    sketches = "" if "sketch" not in found.variables else ", with the sketches they were trained on"
    print(f"wrote      {given['out']}: {count:,} parameters{sketches}")


def _fuse(given: dict[str, Any], command: str) -> None:
    useless = ("input", "model", "partial", "classes", "flow", "alphas", "inflate")
    _need(given, ("checkpoint",), useless)
    from tempo import checkpoint, pretrained
    from tempo.convert import fusing

    _check_place(given["out"])
    checkpoint.check_replaceable(given["out"])
    fused = fusing.read(given["checkpoint"], command=command)
    with _writing(given["out"]):
        pretrained.save_model(given["out"], fused.variables, fused.info)
    print(f"wrote      {given['out']}: {fused.num_after:,} of {fused.num_before:,} parameters")
    print(f"model      {json.dumps(fused.info['config']['model'])}")


_RUNS = {"source": _incoming, "to": _outgoing, "fuse": _fuse}


def _need(
    given: dict[str, Any], needed: Sequence[str], useless: Sequence[str], verb: str = ""
) -> None:
    verb = verb or next(f"--{name}" for name in _RUNS if name in given)
    for flag in needed:
        if flag not in given:
            raise InputError(f"{verb} needs --{flag} too.")
    for flag in useless:
        if flag in given:
            raise InputError(f"--{flag} has no meaning with {verb}; leave it out.")


def _model(text: str) -> str | dict[str, Any]:
    if not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"--model {text!r} is no JSON: {error}.") from None


def _summary(out: str, info: dict[str, Any]) -> str:
    model, clip = info["config"]["model"], info["config"]["clip"]
    name = model.get("name") or model["backbone"]["variant"]
    classes = "named" if info["class_names"] else "without names (--classes)"
    steps = f" at stride {clip['stride']}" if "stride" in clip else f" ({clip['sampling']})"
    return (
        f"wrote      {out}: {name}, {info['num_classes']} classes {classes}, clips of "
        f"{clip['num_frames']} frames{steps}\n"
        f"model      {json.dumps(model)}"
    )


def _alphas(text: str) -> str | tuple[int, ...]:
    parts = text.split(",")
    return tuple(map(int, parts)) if all(p.strip().isdigit() for p in parts) else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tempo.convert",
        description="Public weights become a checkpoint that tempo.load_model, evaluation, "
        "prediction and config.init_from take; or the other way (--to). No code in a file is run.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add(
        "--source",
        metavar="NAME",
        help="torchvision, caffe, bninception, mmaction2, pytorchvideo, pyslowfast, tpn_release, "
        "tsm_release or mtnet_release",
    )
    add("--input", metavar="FILE", help=".pth, .pt, .pkl or .safetensors")
    add(
        "--out",
        required=True,
        metavar="PATH",
        help="folder (with --to mmaction2: .pth or .safetensors)",
    )
    add(
        "--to",
        metavar="NAME",
        help="write a checkpoint of ours for mmaction2; or tempo: a run's weights alone, as a "
        "checkpoint of ours without what only training needs",
    )
    add(
        "--fuse",
        action="store_true",
        help="write a checkpoint of ours with its asymmetric blocks as plain ones, for inference",
    )
    add(
        "--checkpoint",
        metavar="DIR",
        help="with --to or --fuse: a run's workdir or converted weights",
    )
    add(
        "--model",
        metavar="NAME",
        help="model that the weights are of (default: recognised), or for torchvision the one they "
        "start; a name of tempo.list_models(), or arguments of tempo.create_model as JSON",
    )
    add(
        "--partial",
        nargs="+",
        action="extend",
        metavar="REGEX",
        help="names of the file or the model that may be left over or missing",
    )
    add("--classes", metavar="FILE", help="names in order, one per line or a JSON list")
    add("--flow", metavar="NAME", help="of the neck (default: as the source trains)")
    add("--alphas", type=_alphas, metavar="A,B", help="of the neck: 4,8 or equal or rule")
    add(
        "--inflate",
        metavar="HOW",
        help="2-D kernels along time: repeat (each frame alike), center or two_frame",
    )
    add("--ignore-objects", action="store_true", help="leave out objects that are no tensors")
    _add_preprocessing(parser)
    return parser


def _add_preprocessing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "preprocessing stored beside the weights (defaults: the source's)"
    ).add_argument
    add("--frames", dest="num_frames", type=int, metavar="T", help="of a clip")
    add("--stride", type=int, metavar="N", help="frames between two of a clip")
    add("--sampling", metavar="NAME", help="dense or segments")
    add("--size", dest="size_px", type=int, metavar="PX", help="side of training crops")
    add("--crop-size", type=int, metavar="PX", help="side of test crops")
    add("--short-side", type=int, metavar="PX", help="that test frames are resized to")
    add("--crop", metavar="NAME", help="center, three, ten, ...: crops of a test clip")
    add("--num-clips", type=int, metavar="N", help="test clips of a video")
    add("--mean", nargs=3, type=float, metavar="V", help="per channel, of values 0-255")
    add("--std", nargs=3, type=float, metavar="V", help="per channel, of values 0-255")


if __name__ == "__main__":
    sys.exit(main())
