"""Compact bilinear pooling alone, by way of sketching, and its share of a pyramid's training step.

    python -m experiments.benchmarks.stcb
    python -m experiments.benchmarks.stcb --model stpn_bninception --side 224 --batch 2 --dims

Prints JSON: for every d, milliseconds of the pooling of three inputs at all locations, forward and
with all gradients, and the MiB of temporary memory and results that XLA plans, beside those of the
explicit outer product. 1,568 locations are the 7x7 maps of 32 clips. With `--model`, a preset of
the pyramid, also its loss and gradients, and those of its neck and head alone on features of the
same shapes, in turns: the neck's share of the step is more than the pooling's, for the attention is
in it.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
from flax import linen as nn

import tempo
from experiments.benchmarks import report, running
from experiments.benchmarks.turns import CLOCKS, take_turns
from tempo.layers import count_sketch
from tempo.layers.sketch import CompactBilinear

NUM_SNIPPETS = 3
FLOW_CHANNELS = 20
MIB = 2.0**20


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = _arguments(argv)
    row = {
        "benchmark": "stcb",
        "locations": args.locations,
        "width": args.width,
        "inputs": args.inputs,
        "transform": args.transform,
        "pooling": {str(dim): pooling(args, dim) for dim in args.dims},
        "outer_product_mib": round(args.locations * args.width**args.inputs * 4 / MIB, 1),
    }
    if args.model:
        row["step"] = {"model": args.model, "side": args.side, "batch": args.batch, **step(args)}
    report.emit({**row, **report.environment()}, args.out)


def pooling(args, dim: int) -> dict:
    """By way of sketching: times, compilation and memory of the pooling to `dim` numbers."""
    shape = (args.locations, args.width)
    inputs = [jax.random.normal(jax.random.key(i), shape) for i in range(args.inputs)]
    given = {"transform": args.transform}
    variables = jax.jit(CompactBilinear(dim, **given).init)(jax.random.key(0), *inputs)
    runs, rows = {}, {}
    for method in args.methods:
        module = CompactBilinear(dim, method=method, **given)

        def forward(*inputs, module=module):
            return module.apply(variables, *inputs)

        def loss(*inputs, forward=forward):
            return jnp.sum(jnp.square(forward(*inputs)))  # each element's gradient is its own

        gradients = jax.value_and_grad(loss, tuple(range(args.inputs)))
        for kind, function in {"forward": forward, "gradients": gradients}.items():
            compiled, seconds = _compiled(jax.jit(function), *inputs)
            runs[f"{method}_{kind}"] = functools.partial(compiled, *inputs)
            rows[f"{method}_{kind}"] = {"compile_s": round(seconds, 2), **_memory(compiled)}
    times = take_turns(runs, args.runs)
    return {name: {"ms": times[name], **row} for name, row in rows.items()}


def step(args) -> dict:
    """Loss and gradients of a whole pyramid, and of its neck and head, in turns."""
    model = tempo.create_model(args.model, num_classes=args.classes)
    sides = (args.side, args.side)
    shapes = {
        "video": (args.batch, 1, *sides, 3),
        "flow": (args.batch, NUM_SNIPPETS, *sides, FLOW_CHANNELS),
    }
    clips = {
        name: jax.random.normal(jax.random.key(i), shape)
        for i, (name, shape) in enumerate(shapes.items())
    }
    backbone = functools.partial(model.backbone.init_with_output, train=False)
    features = jax.tree.map(
        lambda s: jax.random.normal(jax.random.key(9), s.shape),
        jax.eval_shape(backbone, jax.random.key(0), clips)[0],
    )
    variables = running.cheap_init(model, clips)
    neck = functools.partial(model.neck.init, train=False)
    variables["sketch"] = {"neck": jax.jit(neck)(jax.random.key(0), features)["sketch"]}
    label = jnp.arange(args.batch) % args.classes
    both = {
        "step": (model.clone(), variables["params"], clips),
        "neck_and_head": (
            model.clone(backbone=Given()),
            {k: v for k, v in variables["params"].items() if k != "backbone"},
            features,
        ),
    }
    runs, rows = {}, {}
    for name, (net, params, x) in both.items():
        run = jax.jit(functools.partial(gradients, net, variables))
        compiled, seconds = _compiled(run, params, x, label)
        runs[name] = functools.partial(compiled, params, x, label)
        rows[name] = {"compile_s": round(seconds, 2), **_memory(compiled)}
    times = take_turns(runs, args.runs)
    shares = {k: round(times["neck_and_head"][k] / times["step"][k], 4) for k in CLOCKS}
    return {**{k: {"ms": times[k], **row} for k, row in rows.items()}, "share_of_step": shares}


class Given(nn.Module):
    """A backbone that hands on the features it is given."""

    streams = ("video", "flow")

    def __call__(self, features, *, train: bool):
        """Any features -> the same."""
        del train
        return features


def gradients(net, variables, params, x, label):
    """Gradients of the loss to `params` and, where they are features, to `x`; new statistics."""

    def loss(params, x):
        outputs, new = net.apply(
            {**variables, "params": params},
            x,
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        logits = jax.nn.log_softmax(outputs["logits"])
        return -jnp.take_along_axis(logits, label[:, None], axis=1).mean(), new

    wanted = (0, 1) if isinstance(net.backbone, Given) else (0,)
    return jax.grad(loss, wanted, has_aux=True)(params, x)


def _compiled(function, *args):
    """The compiled function and the seconds that it took."""
    start = time.perf_counter()
    made = function.lower(*args).compile()
    return made, time.perf_counter() - start


def _memory(compiled) -> dict[str, float]:
    plan = compiled.memory_analysis()
    if plan is None:
        return {}
    return {
        "temporaries_mib": round(plan.temp_size_in_bytes / MIB, 1),
        "results_mib": round(plan.output_size_in_bytes / MIB, 1),
    }


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.stcb", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--locations", type=int, default=1568)
    parser.add_argument("--width", type=int, default=1024, help="features of each input")
    parser.add_argument("--inputs", type=int, default=3)
    parser.add_argument("--dims", nargs="*", type=int, default=[1024, 2048, 4096])
    parser.add_argument("--methods", nargs="+", default=["auto"])
    parser.add_argument("--transform", default="fft", choices=["fft", "dft"])
    parser.add_argument("--model", default="", help="a preset of the pyramid: stpn_*")
    parser.add_argument("--side", type=int, default=224, help="of the frames in pixels")
    parser.add_argument("--batch", type=int, default=1, help="clips per step")
    parser.add_argument("--classes", type=int, default=101)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each, at least 5")
    report.add_output(parser)
    args = parser.parse_args(argv)
    if args.runs < 5:
        parser.error("--runs must be at least 5, fewer say nothing about the spread")
    least = {"locations": 1, "width": 1, "inputs": 2, "side": 1, "batch": 1, "classes": 2}
    given = [(name, getattr(args, name), low) for name, low in least.items()]
    for name, value, low in [*given, *(("dims", dim, 1) for dim in args.dims)]:
        if value < low:
            parser.error(f"--{name} must be at least {low}; got {value}")
    methods = ("auto", *count_sketch.METHODS)
    if unknown := [m for m in args.methods if m not in methods]:
        parser.error(f"--methods {unknown[0]} is none of {', '.join(methods)}")
    if args.model and args.model not in tempo.list_models("stpn_*"):
        known = ", ".join(tempo.list_models("stpn_*"))
        parser.error(f"--model {args.model} is no pyramid; take one of {known}")
    return args


if __name__ == "__main__":
    main()
