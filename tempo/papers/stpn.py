"""The variants of the STPN recipe: its options, with what the sources leave to them.

Sources: Wang, Long, Wang, Yu 2017, arXiv 1903.01038 ("STPN", by the slides of its talk), and TSN
(Wang et al. 2016, arXiv 1608.00859, with its authors' solver files), whose training and test STPN
says it follows. What neither says is an option, or stands here:

| what                  | STPN                             | here                                  |
|-----------------------|----------------------------------|---------------------------------------|
| optimizer             | as TSN: SGD, momentum 0.9, decay | that; decay of kernels alone, biases  |
|                       | 5e-4, batch 128, gradients cut   | at twice the rate, as in TSN's files  |
|                       | at a norm of 40 (flow: 20)       |                                       |
| stages                | weights of ImageNet; of flow too | that, then both networks and what     |
|                       | (first kernels averaged)         | fuses them together (our choice)      |
| lengths               | TSN: 3,500 steps RGB, 18,000     | those; 6,000 together, a tenth after  |
|                       | flow, a tenth at 1,500; 10,000   | 3,300 and 5,300 (our choice)          |
|                       | and 16,000                       |                                       |
| rate                  | TSN: 1e-3 RGB, 5e-3 flow         | that; together 1e-3, ten times that   |
|                       |                                  | of the attention, a quarter of it of  |
|                       |                                  | classifier of B, C and D, x1 of any   |
|                       |                                  | other (our choice, see below)         |
| dropout               | TSN: .8 RGB, .7 flow             | that; .5 before the last classifier   |
| interval of snippets  | 1 to 10 in training, drawn anew  | centre to centre; 5 in tests          |
|                       |                                  | (`interval`, `stride_rule`)           |
| place of the sample   | -                                | anywhere in the video                 |
| dimensions            | -                                | 1024, 2048, 4096 (`d1`, `d2`, `d3`):  |
|                       |                                  | those of public re-implementations    |
| after each pooling    | -                                | signed root and L2 (`norm`), scaled   |
|                       |                                  | to elements of about 1                |
| VGG-16                | -                                | the map behind its last pool; alone   |
|                       |                                  | it keeps its two linear layers        |
| partial BN            | means and variances of all norms | that, and their scale and bias        |
|                       | but the first stay               | (`affine`), as in TSN's later codes   |
| crops                 | corners, scale jitter            | 13 places (`positions`), one window   |
|                       |                                  | for frames and flow of a sample       |
| two streams averaged  | -                                | 1 to 1.5 (`late`), before softmax     |

The quarter is for what stands behind the third level: with a `norm` its features have one of the
root of `d3`, 64 as a rule and 16 with `size=small`, and at the rate of the rest the loss jumps
about. It is the same for every `d3`, and for `norm=none`, whose features have no bound. The
classifiers of rows `t2` and `t3` (`snippets`, `attention`) stay at the rate.
"""

from collections.abc import Callable, Mapping

from tempo.errors import InputError
from tempo.papers import arguments
from tempo.papers.arguments import Argument, Option
from tempo.papers.results import Row
from tempo.papers.stpn_results import BASES

_WHOLE = r"[1-9]\d*"
_BY_MODEL = ""

MODELS = ("D", "A", "B", "C", "spatial", "temporal", "snippets", "attention", "tsn")
FUSIONS = ("identity", "concat", "sum", "stcb")

OPTIONS: dict[str, Option] = {
    "model": Option(default="D", choices=MODELS),
    "base": Option(default="bninception", choices=BASES),
    "input": Option(default="rgb", choices=("rgb", "flow", "rgb_diff", "warped")),
    "fusion": Option(default=_BY_MODEL, choices=(_BY_MODEL, *FUSIONS)),
    "paths": Option(default=_BY_MODEL, choices=(_BY_MODEL, "1", "3", "5")),
    "d1": Option(default=_BY_MODEL, pattern=_WHOLE, form="a whole number such as 1024"),
    "d2": Option(default=_BY_MODEL, pattern=_WHOLE, form="a whole number such as 2048"),
    "d3": Option(default=_BY_MODEL, pattern=_WHOLE, form="a whole number such as 4096"),
    "norm": Option(default="ssqrt_l2", choices=("ssqrt_l2", "l2", "none")),
    "interval": Option(default="5", pattern=r"\d+", form="fields from centre to centre, such as 5"),
    "stride_rule": Option(default="center", choices=("center", "gap")),
    "late": Option(default="1.5", pattern=r"\d*\.?\d+", form="a weight such as 1.5"),
    "late_space": Option(default="logit", choices=("logit", "prob")),
    "affine": Option(default="frozen", choices=("frozen", "trained")),
    "cross": Option(default="mean", choices=("mean", "mean_rescaled")),
    "positions": Option(default="13", choices=("13", "5")),
    "warmup": Option(default="0", pattern=r"\d+", form="a number of steps such as 500"),
    "aux": Option(default="0", pattern=r"\d*\.?\d+", form="a weight such as 0.3"),
    "init": Option(default=_BY_MODEL, choices=(_BY_MODEL, "imagenet", "scratch")),
    "streams": Option(
        default="",
        pattern=r"[^,={}]*",
        form="a folder of a run with stages, without any of , = { } in its name",
    ),
    "flow": Option(default="tvl1_jax", choices=("tvl1_jax", "tvl1", "dis")),
    "split": Option(default="1", choices=("1", "2", "3", "all")),
    "data": Option(default="ucf101", choices=("ucf101", "hmdb51", "tempobench")),
    "size": Option(default="full", choices=("full", "small")),
}
"""Options by name; "" takes what the model or the dataset says."""

JOINT = ("A", "B", "C", "D", "attention")
"""Models of both streams."""
FUSED = ("C", "D", "snippets", "attention")
"""Models that fuse snippets."""

# Options that mean something for some models only.
_ONLY: dict[str, tuple[str, ...]] = {
    "input": ("tsn",),
    "fusion": FUSED,
    "paths": FUSED,
    "d1": FUSED,
    "d2": ("D", "attention"),
    "d3": ("B", "C", "D"),
    "norm": ("B", *FUSED),
    "stride_rule": FUSED,
    "late": ("A",),
    "late_space": ("A",),
    "cross": (*JOINT, "temporal", "snippets", "tsn"),
    "warmup": ("B", *FUSED),
    "aux": ("B", "C", "D", "attention"),
    "streams": (*JOINT, "snippets"),
}


def _has_frozen_norms(values: Mapping[str, str]) -> bool:
    if values["base"] == "vgg16" and values["size"] == "full":
        return False
    if values["model"] in ("B", *FUSED):
        return True
    return values["init"] == "imagenet" and not values["streams"]


# Options that mean something with some values of the others only, and which those are.
_WHERE: dict[str, tuple[Callable[[Mapping[str, str]], bool], str]] = {
    "base": (lambda v: v["size"] != "small", "size=full; size=small has a network of its own"),
    "affine": (
        _has_frozen_norms,
        "norms that are frozen in training: VGG-16 has none, networks alone have them with "
        "init=imagenet, and model=A with streams trains nothing",
    ),
    "interval": (
        lambda v: v["model"] in FUSED and v["paths"] != "1",
        f"several snippets: model={'|'.join(FUSED)} with paths=3 or 5",
    ),
    "stride_rule": (lambda v: v["paths"] != "1", "several snippets: paths=3 or 5"),
    "d1": (lambda v: v["fusion"] == "stcb", "fusion=stcb"),
    "norm": (
        lambda v: v["model"] != "snippets" or v["fusion"] == "stcb",
        "compact bilinear pooling; model=snippets has it with fusion=stcb",
    ),
    "cross": (
        lambda v: (
            v["init"] == "imagenet"
            and not v["streams"]
            and (v["model"], v["input"]) != ("tsn", "rgb")
        ),
        "networks of flow or of differences that start from ImageNet here: init=imagenet, no "
        "streams, and of model=tsn another input than rgb",
    ),
}


def read(arg: str | None, rows: Mapping[str, Row]) -> Argument:
    """The argument of the recipe, with a value for every option.

    Args:
      arg: what stands behind the colon of `--config`.
      rows: the recipe's named rows.

    Raises:
      InputError: an unknown option, row or value; or an option that means nothing with the others.
    """
    found = arguments.parse(arg, OPTIONS, {name: row.arg for name, row in rows.items()})
    values = dict(found.values)
    model = values["model"]
    for name in sorted(found.given):
        if model not in _ONLY.get(name, MODELS):
            raise InputError(
                f"The option {name!r} is for model={'|'.join(_ONLY[name])}; this is "
                f"model={model}, leave it out."
            )
    is_fused = model in FUSED
    values["fusion"] = values["fusion"] or ("stcb" if is_fused else "identity")
    values["paths"] = values["paths"] or ("3" if is_fused else "1")
    if is_fused and (values["fusion"] == "identity") != (values["paths"] == "1"):
        raise InputError(
            f"fusion={values['fusion']} and paths={values['paths']} do not go together: one path "
            "is fusion=identity, several are fused by concat, sum or stcb."
        )
    is_tempobench = values["data"] == "tempobench"
    if "flow" in found.given and not is_tempobench:
        raise InputError(
            "The option 'flow' is of data=tempobench; of other data `tempo.prepare --flow` says it."
        )
    if is_tempobench and values["split"] != "1":
        raise InputError(
            "TempoBench has one split; leave the option 'split' out, or give data=ucf101 or hmdb51."
        )
    if is_tempobench and values["input"] == "warped":
        raise InputError(
            "The camera of TempoBench stands still: input=flow is its warped flow too; give that."
        )
    if values["size"] == "small" and not is_tempobench:
        raise InputError("size=small is for data=tempobench; leave it out, or give both.")
    values["init"] = values["init"] or ("scratch" if is_tempobench else "imagenet")
    for name in sorted(found.given & _WHERE.keys()):
        is_of_use, where = _WHERE[name]
        if not is_of_use(values):
            raise InputError(
                f"The option {name!r} is for {where}; it changes nothing here, leave it out."
            )
    return Argument(found.row, values, found.given, found.named)
