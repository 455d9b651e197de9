"""Speed and memory of the forward pass of a model in evaluation.

    python -m experiments.benchmarks.inference --model slowonly_r50 --clip 8x112 --batch 4
    python -m experiments.benchmarks.inference --model x3d_s --clip 13x160 --batch 2 --peer torch

Prints JSON: logits of a batch that is on the device already, by one jitted function. `--peer torch`
is as in `experiments.benchmarks.train_step`; PyTorch keeps no graph for gradients here.
"""

from experiments.benchmarks import report, sides


def main(argv=None) -> None:
    """Runs the benchmark from the command line."""
    args = sides.parse(sides.arguments("inference", __doc__.split("\n")[0]), argv)
    row = sides.measure("inference", args)
    report.emit({**row, **report.environment()}, args.out)


if __name__ == "__main__":
    main()
