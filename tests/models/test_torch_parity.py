"""SlowOnly, its 2-D and TSM forms, SlowFast, and the pyramid neck against the same in PyTorch.

The PyTorch side is written from the papers' operation tables with torch's own layers' functions
and reads the flax variables, so every padding, stride, group and order is compared.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tempo import models
from tests.models.nets import apply_training, named_leaves

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = pytest.mark.parity

GROUPS = 4
BLOCKS = (2, 1, 1, 1)


class TorchNet:
    """Functional network over a flat dict of tensors named as the flax leaves."""

    def __init__(self, variables, *, train, kernels_t=(1, 1, 1, 1), shift=False, shift_cut=False):
        self.train, self.kernels_t, self.shift, self.shift_cut = train, kernels_t, shift, shift_cut
        self.p = {
            name: _tensor(name, leaf) for name, leaf in named_leaves(variables["params"]).items()
        }
        self.stats = {
            name: torch.tensor(np.asarray(leaf))
            for name, leaf in named_leaves(variables["batch_stats"]).items()
        }
        for p in self.p.values():
            p.requires_grad_(train)

    def conv(self, x, name, stride=(1, 1, 1), groups=1):
        w = self.p[f"{name}/kernel"]
        pad = [k // 2 for k in w.shape[2:]]
        return F.conv3d(x, w, stride=stride, padding=pad, groups=groups)

    def norm(self, x, name):
        return F.batch_norm(
            x,
            self.stats[f"{name}/mean"],
            self.stats[f"{name}/var"],
            self.p[f"{name}/scale"],
            self.p[f"{name}/bias"],
            training=self.train,
            momentum=0.1,
            eps=1e-5,
        )

    def unit(self, x, name, **kwargs):
        return F.relu(self.norm(self.conv(x, f"{name}/conv", **kwargs), f"{name}/norm"))

    def tsm(self, x):
        fold = x.shape[1] // 8
        out = x.clone()
        out[:, :fold, :-1], out[:, :fold, -1] = x[:, :fold, 1:], 0
        out[:, fold : 2 * fold, 1:], out[:, fold : 2 * fold, 0] = x[:, fold : 2 * fold, :-1], 0
        return out

    def block(self, x, name, stride):
        s = (1, stride, stride)
        shifted = self.tsm(x) if self.shift else x
        y = F.relu(self.norm(self.conv(shifted, f"{name}/conv1"), f"{name}/norm1"))
        y = F.relu(self.norm(self.conv(y, f"{name}/conv2", s), f"{name}/norm2"))
        y = self.norm(self.conv(y, f"{name}/conv3"), f"{name}/norm3")
        if f"{name}/conv_proj/kernel" in self.p:
            x = shifted if self.shift_cut else x
            x = self.norm(self.conv(x, f"{name}/conv_proj", s), f"{name}/norm_proj")
        return F.relu(y + x)

    def backbone(self, x, where="backbone", laterals=()):
        x = self.conv(x, f"{where}/stem_conv", (1, 2, 2))
        x = F.relu(self.norm(x, f"{where}/stem_norm"))
        x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        out = {"stem": x}
        for stage, blocks in enumerate(BLOCKS):
            x = torch.cat([x, laterals[stage]], 1) if laterals else x
            for i in range(blocks):
                stride = 2 if stage and not i else 1
                x = self.block(x, f"{where}/stage{stage + 1}_block{i + 1}", stride)
            out[f"res{stage + 2}"] = x
        return out

    def slowfast(self, x, slow_frames, fast_frames):
        """Features of the slow and of the fast path."""
        fast = self.backbone(x[:, :, fast_frames], "backbone/fast")
        alpha = len(fast_frames) // len(slow_frames)
        laterals = []
        for i, name in enumerate(("stem", "res2", "res3", "res4")):
            y = self.conv(fast[name], f"backbone/lateral_{i}/conv", (alpha, 1, 1))
            if f"backbone/lateral_{i}/norm/scale" in self.p:
                y = F.relu(self.norm(y, f"backbone/lateral_{i}/norm"))
            laterals.append(y)
        return self.backbone(x[:, :, slow_frames], "backbone/slow", laterals), fast

    def neck(self, stages, alphas, flow):
        low = self.unit(stages["res4"], "neck/spatial_mod_0_0", stride=(1, 2, 2))
        levels = []
        for i, x in enumerate((low, stages["res5"])):
            x = self.conv(x, f"neck/temporal_mod_{i}", groups=GROUPS)
            a = (alphas[i], 1, 1)
            levels.append(F.max_pool3d(x, a, a, ceil_mode=True))
        ratio = (levels[0].shape[2] // levels[1].shape[2], 1, 1)

        def shrink(x):
            return F.max_pool3d(x, ratio, ratio, ceil_mode=True)

        td = [levels[0] + F.interpolate(levels[1], scale_factor=ratio, mode="nearest"), levels[1]]
        start = td if flow == "cascade" else levels
        bu = [start[0], start[1] + shrink(self.conv(start[0], "neck/lateral_down_0"))]
        fused = []
        for name, pyramid in (("td", td), ("bu", bu)):
            where = f"neck/level_fusion_{name}"
            parts = [
                self.unit(shrink(pyramid[0]), f"{where}/level_0", groups=GROUPS),
                self.unit(pyramid[1], f"{where}/level_1", groups=GROUPS),
            ]
            fused.append(self.unit(torch.cat(parts, 1), f"{where}/fusion"))
        return self.unit(torch.cat(fused, 1), "neck/pyramid_fusion")

    def score(self, x, name):
        maps = x if isinstance(x, tuple) else (x,)
        pooled = torch.cat([m.mean((2, 3, 4)) for m in maps], 1)
        return F.linear(pooled, self.p[f"{name}/kernel"], self.p[f"{name}/bias"])

    def score_everywhere(self, x, name):
        """The public test code's way: a 1x1x1 convolution, then the mean over locations."""
        w = self.p[f"{name}/kernel"][..., None, None, None]
        return F.conv3d(x, w, self.p[f"{name}/bias"]).mean((2, 3, 4))

    def auxiliary(self, x):
        x = self.unit(x, "neck/aux_head_0/conv", stride=(1, 2, 2))
        return self.score(x, "neck/aux_head_0/head/fc")


def _tensor(name, leaf):
    value = torch.tensor(np.asarray(leaf))
    if leaf.ndim == 5:
        return value.permute(4, 3, 0, 1, 2).contiguous()
    return value.T.contiguous() if name.endswith("kernel") else value


def _untensor(name, gradient):
    """Back to flax's layout."""
    if gradient.ndim == 5:
        return gradient.permute(2, 3, 4, 1, 0).numpy()
    return (gradient.T if name.endswith("kernel") else gradient).numpy()


def channels_first(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def close(a, b, rel=1e-4):
    scale = np.abs(b).max()
    np.testing.assert_allclose(np.asarray(a) / scale, b / scale, atol=rel)


def close_gradients(gradients, net):
    """Each leaf's gradient against that of the PyTorch network, after its backward pass."""
    largest = max(p.grad.abs().max() for p in net.p.values())
    for name, g in named_leaves(gradients).items():
        reference = _untensor(name, net.p[name].grad)
        tolerance = 2e-3 * np.abs(reference).max() + 1e-6 * float(largest)
        np.testing.assert_allclose(g, reference, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(1).normal(size=(3, 8, 64, 48, 3)).astype(np.float32)


def make(variant, neck=None, **backbone):
    return models.create(
        5,
        backbone={"variant": variant, "depths": BLOCKS, "width": 4, **backbone},
        neck={"name": "tpn", "groups": GROUPS, **neck} if neck else None,
        head={"dropout_prob": 0.0},
    )


@pytest.mark.parametrize(
    ("variant", "backbone", "net"),
    [
        ("slowonly_r50", {}, {}),
        ("c2d_r50", {"temporal": "tsm", "width": 8}, {"shift": True}),
        (
            "c2d_r50",
            {"temporal": "tsm", "width": 8, "shift_shortcut": True},
            {"shift": True, "shift_cut": True},
        ),
    ],
)
def test_backbone_features(variant, backbone, net, clip, random_variables):
    model = make(variant, **backbone)
    variables = random_variables(model, clip, train=False)
    outputs = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, clip)
    torch_net = TorchNet(variables, train=False, **net)
    features = torch_net.backbone(channels_first(clip))
    for stage, x in outputs["features"].items():
        close(x, channels_last(features[stage]))
    for score in (torch_net.score, torch_net.score_everywhere):
        close(outputs["logits"], score(features["res5"], "head/fc").numpy())


SLOWFAST = {"width": 8, "channel_ratio": 4, "slow_stride": 4}


@pytest.mark.parametrize(
    ("fields", "slow_frames", "fast_frames"),
    [
        ({"fusion_kernel": 7}, [0, 4], list(range(8))),
        # mmaction2's bare lateral connections, and PySlowFast's frames.
        ({"lateral_norm": False}, [0, 4], list(range(8))),
        ({"fast_stride": 2, "slow_index": "linspace"}, [0, 6], [0, 2, 4, 6]),
    ],
)
def test_slowfast_features_and_logits(fields, slow_frames, fast_frames, clip, random_variables):
    model = make("slowfast_r50", **SLOWFAST, **fields)
    variables = random_variables(model, clip, train=False)
    outputs = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, clip)
    net = TorchNet(variables, train=False)
    slow, fast = net.slowfast(channels_first(clip), slow_frames, fast_frames)
    for i in range(2, 6):
        close(outputs["features"][f"res{i}"], channels_last(slow[f"res{i}"]))
        close(outputs["features"][f"fast_res{i}"], channels_last(fast[f"res{i}"]))
    close(outputs["logits"], net.score((slow["res5"], fast["res5"]), "head/fc").numpy())


def test_gradients_of_a_slowfast_training_step(clip, random_variables):
    model = make("slowfast_r50", **SLOWFAST)
    variables = random_variables(model, clip, train=False)
    labels = np.array([0, 3, 1])

    @jax.jit
    def step(params):
        def loss(params):
            outputs, _ = apply_training(model, variables, params, clip)
            return -jnp.mean(jax.nn.log_softmax(outputs["logits"])[jnp.arange(3), labels])

        return jax.value_and_grad(loss)(params)

    loss, gradients = step(variables["params"])
    net = TorchNet(variables, train=True)
    slow, fast = net.slowfast(channels_first(clip), [0, 4], list(range(8)))
    scores = net.score((slow["res5"], fast["res5"]), "head/fc")
    expected = F.cross_entropy(scores, torch.tensor(labels))
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-4)
    close_gradients(gradients, net)


@pytest.mark.parametrize("alphas", [(8, 8), (4, 8)])
def test_pyramid_logits_by_flow(alphas, clip, random_variables):
    base = make("slowonly_r50", neck={"alphas": alphas})
    variables = random_variables(base, clip, train=False)
    net = TorchNet(variables, train=False)
    stages = net.backbone(channels_first(clip))
    results = {}
    for flow in ("cascade", "parallel"):
        model = make("slowonly_r50", neck={"alphas": alphas, "flow": flow})
        outputs = jax.jit(lambda v, x, m=model: m.apply(v, x, train=False))(variables, clip)
        expected = net.neck(stages, alphas, flow)
        close(outputs["logits"], net.score(expected, "head/fc").numpy())
        results[flow] = expected
    assert (results["cascade"] - results["parallel"]).abs().max() > 0.05


def test_gradients_and_statistics_of_a_training_step(clip, random_variables):
    """Main and auxiliary cross-entropy through batch norm in training, all the way to the stem."""
    model = make("slowonly_r50", neck={"alphas": (4, 8), "aux_dropout_prob": 0.0})
    variables = random_variables(model, clip, train=False)
    labels = np.array([0, 3, 1])

    @jax.jit
    def step(params):
        def loss(params):
            outputs, new = apply_training(model, variables, params, clip)
            losses = [
                -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(3), labels])
                for logits in (outputs["logits"], outputs["aux_logits"][0])
            ]
            return losses[0] + 0.5 * losses[1], new["batch_stats"]

        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, stats), gradients = step(variables["params"])
    net = TorchNet(variables, train=True)
    stages = net.backbone(channels_first(clip))
    main = net.score(net.neck(stages, (4, 8), "parallel"), "head/fc")
    target = torch.tensor(labels)
    expected = F.cross_entropy(main, target)
    expected = expected + 0.5 * F.cross_entropy(net.auxiliary(stages["res4"]), target)
    expected.backward()

    assert float(loss) == pytest.approx(expected.item(), rel=1e-4)
    close_gradients(gradients, net)
    for name, value in named_leaves(stats).items():
        if name.endswith("mean"):  # torch's running variance is that of the unbiased estimate
            close(value, net.stats[name].numpy(), rel=1e-3)
