"""The variants of the MTNet recipe: its options, and what the sources leave to them.

Sources: Stergiou, Poppe 2021, arXiv 2011.03949 ("paper"), whose public text has lost many symbols
and numbers, and the authors' code (alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates,
"code"). Where they differ, the paper counts. What is in neither is our choice, and says so:

| what                  | paper                            | here                                  |
|-----------------------|----------------------------------|---------------------------------------|
| base rate             | number lost; UCF-101: reduced    | 0.1 HACS and MiT, 0.05 Kinetics       |
|                       |                                  | (code); 0.01 UCF-101 (our choice)     |
| epochs                | lost; UCF-101: 150               | 120 HACS, 130 Kinetics, 110 MiT (code)|
| schedule              | cosine to 0, each iteration      | that (code: steps)                    |
| warm-up               | 8,000 iterations; UCF-101: none  | that; it starts at a tenth of the rate|
|                       |                                  | (our choice)                          |
| weight decay          | number lost                      | 1e-4 (code), of kernels alone (our    |
|                       |                                  | choice, as X3D: arXiv 2004.04730)     |
| momentum              | 0.9                              | that, with Nesterov (code)            |
| rate of convolutions  | UCF-101: a multiplier, lost      | 0.1 (our choice)                      |
| batch                 | 64 = 4 GPUs x 16                 | that; norms see 16 clips, and 8 with  |
|                       |                                  | multigrid (arXiv 1912.00998)          |
| precision             | float16                          | bfloat16; norms, gates, softmaxes and |
|                       |                                  | cosines in float32                    |
| multigrid             | "batch sizes are determined by"  | long and short cycles; with a cosine, |
|                       | it, linear scaling of the rate   | which its source has not (our choice);|
|                       |                                  | a fixed short side scales with the    |
|                       |                                  | crop (our choice)                     |
| frames                | lost                             | 16 (code)                             |
| stride                | 2 HACS, 5 Kinetics, 3 MiT, 4 UCF | that (code: drawn from 1-2, 4-6, 3-4) |
| crop                  | short side 320, random; size lost| 182 for s, 224 for m and l (the FLOPs |
|                       |                                  | of the paper agree; code: 256)        |
| mirror images         | -                                | half of the clips (code)              |
| dropout               | -                                | 0.5 before the classifier (our choice;|
|                       |                                  | code: none)                           |
| evaluation            | 10 clips x 3 crops; size lost    | 182 for s, 256 for m and l, the short |
|                       |                                  | side as long; softmax averaged (our   |
|                       |                                  | choice of sizes and average)          |
| short videos          | -                                | the last frame is held (our choice)   |
| gate                  | "dual-layer", yet the counted    | `layers=1`: the reported counts;      |
|                       | parameters are of one layer      | `layers=2`: the text and the code     |
| frames selected       | the least alike                  | that; `select=highest,square=on` is   |
|                       |                                  | the code                              |
| pooling               | SoftPool                         | that; `pool=avg_triplet` is the code  |
| input of the branches | "the original layer input" for   | `input=split`: each reads its share of|
|                       | one, shares of it elsewhere      | the channels (code; parameters agree) |
"""

from collections.abc import Mapping

from tempo.errors import InputError, lookup
from tempo.papers import arguments
from tempo.papers.arguments import Argument, Option
from tempo.papers.mtnet_results import POOLINGS
from tempo.papers.results import Row

SIZES = ("s", "m", "l")
DATASETS = ("hacs", "k400", "k700", "mit", "ucf101", "tempo_bench")
_BY_DATA = ""

OPTIONS: dict[str, Option] = {
    "size": Option(default="m", choices=SIZES),
    "data": Option(default="hacs", choices=DATASETS),
    "net": Option(
        default="mtnet",
        choices=(
            "mtnet", "r50_3d", "r50_2plus1d", "multifiber", "slowonly", "slowfast", "r50_mtconv",
        ),
    ),
    "ratio": Option(default="0.875", pattern=r"\d*\.?\d+", form="above 0 and at most 1"),
    "pool": Option(default="soft_triplet", choices=POOLINGS),
    "cell": Option(
        default="gru", choices=("gru", "gru_reset_before", "rnn", "lstm", "lstm_peephole")
    ),
    "layers": Option(default="1", choices=("0", "1", "2")),
    "block": Option(default="mt4", choices=("mt4", "x3d", "bottleneck")),
    "input": Option(default="split", choices=("split", "full")),
    "lateral": Option(default="post", choices=("post", "pre")),
    "norms": Option(default="own", choices=("own", "shared")),
    "select": Option(default="lowest", choices=("lowest", "highest")),
    "square": Option(default="off", choices=("off", "on")),
    "border": Option(default="interior", choices=("interior", "replicate")),
    "indices": Option(default="own", choices=("own", "shared")),
    "last": Option(default="linear", choices=("linear", "relu")),
    "se": Option(default="off", choices=("off", "on")),
    "init": Option(default=_BY_DATA, choices=(_BY_DATA, "hacs", "scratch")),
    "multigrid": Option(
        default=_BY_DATA, choices=(_BY_DATA, "off", "short", "long", "both", "per_epoch")
    ),
    "crop": Option(default=_BY_DATA, pattern=r"|[1-9]\d*", form="a number of pixels such as 224"),
}  # fmt: skip
"""Options by name; "" takes what the dataset or the size says."""

_NOT_OF_THE_NETWORK = ("size", "data", "net", "init", "multigrid", "crop")
_OF_FRAMES = ("select", "square", "border", "indices")


def read(arg: str | None, rows: Mapping[str, Row]) -> Argument:
    """The argument of the recipe, with a value for every option.

    A size or a dataset alone, such as the two of `s,k400`, is short for `size=s,data=k400`.

    Args:
      arg: what stands behind the colon of `--config`.
      rows: the recipe's named rows.

    Raises:
      InputError: an unknown option, row or value; a ratio out of range; or an option that means
        nothing with the others.
    """
    words = {**dict.fromkeys(SIZES, "size"), **dict.fromkeys(DATASETS, "data")}
    parts = [part.strip() for part in (arg or "").split(",")]
    spelt = [f"{words[part]}={part}" if part in words else part for part in parts]
    for part in spelt:
        # What is no option has a dot if it is a row.
        if part and "=" not in part and "." not in part and part not in OPTIONS:
            lookup(words, part, "size or dataset of the recipe")
    named = {name: row.arg for name, row in rows.items()}
    found = arguments.parse(",".join(spelt), OPTIONS, named)
    values = dict(found.values)
    if not 0 < float(values["ratio"]) <= 1:
        raise InputError(
            f"The recipe's option 'ratio' must be above 0 and at most 1, the share of local "
            f"channels; got {values['ratio']}: give ratio=1 for no prolonged branch."
        )
    for name in sorted(found.given):
        if values["net"] != "mtnet" and name not in _NOT_OF_THE_NETWORK:
            raise InputError(
                f"The option {name!r} is for net=mtnet; this is net={values['net']}, leave it out."
            )
        if name in _OF_FRAMES and not values["pool"].endswith("_triplet"):
            raise InputError(
                f"The option {name!r} is of frame selection, but pool={values['pool']} pools time "
                f"with space; leave it out, or give pool={values['pool']}_triplet."
            )
    of_data = "scratch" if values["data"] in ("hacs", "tempo_bench") else "hacs"
    values["init"] = values["init"] or of_data
    # Long cycles show few frames at any stride, and on TempoBench the tempo is the class.
    of_data = "short" if values["data"] == "tempo_bench" else "both"
    values["multigrid"] = values["multigrid"] or of_data
    return Argument(found.row, values, found.given, found.named)
