"""MTNet against the same network written in PyTorch from the paper's equations; it can be trained.

The PyTorch side reads the flax variables by name and nothing else of ours.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tempo
from tempo import trees

WIDTHS, RATIO = (16, 16, 20, 24), 0.5
FIELDS = {"widths": WIDTHS, "expansion": 1.5, "ratio": RATIO}


def torch_network(variables, torch):
    """`[B,C,T,H,W]` video -> logits; a function of the flax variables."""
    functional = torch.nn.functional
    leaves = {
        name: torch.from_numpy(np.array(leaf))
        for collection in ("params", "batch_stats")
        for name, leaf in trees.named(variables[collection]).items()
    }
    gaps = []

    def conv(x, name, strides=(1, 1, 1)):
        kernel = leaves[f"{name}/kernel"].permute(4, 3, 0, 1, 2)
        pads = [k // 2 for k in kernel.shape[2:]]
        return functional.conv3d(x, kernel, stride=strides, padding=pads)

    def norm(x, name):
        mean, var = leaves[f"{name}/mean"], leaves[f"{name}/var"]
        scale, bias = leaves[f"{name}/scale"], leaves[f"{name}/bias"]
        return functional.batch_norm(x, mean, var, scale, bias, eps=1e-5)

    def soft_pool(x):
        b, c, t, h, w = x.shape
        there = functional.pad(torch.ones_like(x), (0, w % 2, 0, h % 2))
        x = functional.pad(x, (0, w % 2, 0, h % 2))
        shape = (b, c, t, (h + 1) // 2, 2, (w + 1) // 2, 2)
        weights = torch.exp(x - x.amax()) * there
        weighted = (weights * x).reshape(shape).sum((4, 6))
        return weighted / weights.reshape(shape).sum((4, 6))

    def fewer_frames(x):
        frames = x.shape[2]
        if frames < 3:
            return x.mean(2, keepdim=True)
        rows = functional.normalize(x.sum((3, 4)), dim=1, eps=1e-4)
        cosines = (rows[:, :, 1:] * rows[:, :, :-1]).sum(1)
        scores = cosines[:, 1:] + cosines[:, :-1]
        order = scores.sort(1)
        kept = frames // 2
        if kept < frames - 2:
            gaps.append((order.values[:, kept] - order.values[:, kept - 1]).min().item())
        chosen = order.indices[:, :kept].sort(1).values + 1
        return torch.stack([clip[:, rows] for clip, rows in zip(x, chosen, strict=True)])

    def resized(x, like):
        size = like.shape[2:]
        return functional.interpolate(x, size=size, mode="trilinear", align_corners=False)

    def split_conv(x, name, strides, last):
        act = (lambda x: x) if last else torch.relu
        num_local = leaves[f"{name}/local_conv/kernel"].shape[3]
        local = norm(conv(x[:, :num_local], f"{name}/local_conv", strides), f"{name}/local_norm")
        local = act(local)
        reduced = fewer_frames(soft_pool(x[:, num_local:]))
        u = norm(conv(reduced, f"{name}/prolonged_conv", strides), f"{name}/prolonged_norm")
        v = conv(fewer_frames(soft_pool(local)), f"{name}/lateral_conv")
        v = norm(v, f"{name}/lateral_norm")
        return torch.cat([local, act(resized(u + resized(v, u), local))], 1)

    def gates(x, name):
        rows = x.mean((3, 4)).transpose(1, 2)
        part = {
            n: leaves[f"{name}/layer1/{n}/kernel"].T for n in ("ir", "iz", "in", "hr", "hz", "hn")
        }
        bias = {n: leaves[f"{name}/layer1/{n}/bias"] for n in ("ir", "iz", "in", "hn")}
        gru = torch.nn.GRU(x.shape[1], x.shape[1], batch_first=True)
        zero = torch.zeros_like(bias["hn"])
        gru.load_state_dict(
            {
                "weight_ih_l0": torch.cat([part["ir"], part["iz"], part["in"]]),
                "weight_hh_l0": torch.cat([part["hr"], part["hz"], part["hn"]]),
                "bias_ih_l0": torch.cat([bias["ir"], bias["iz"], bias["in"]]),
                "bias_hh_l0": torch.cat([zero, zero, bias["hn"]]),
            }
        )
        return x * gru(rows)[0].transpose(1, 2)[..., None, None]

    def block(x, name, strides):
        y = x
        for i in (1, 2, 3, 4):
            y = split_conv(y, f"{name}/mtconv{i}", strides if i == 3 else (1, 1, 1), i == 4)
        y = gates(y, f"{name}/gate")
        if f"{name}/conv_proj/kernel" in leaves:
            x = norm(conv(x, f"{name}/conv_proj", strides), f"{name}/norm_proj")
        return torch.relu(y + x)

    def run(video):
        x = torch.relu(norm(conv(video, "backbone/stem_conv", (1, 2, 2)), "backbone/stem_norm"))
        x = fewer_frames(functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1)))
        for stage in (1, 2, 3, 4):
            i = 1
            while f"backbone/stage{stage}_block{i}/mtconv1/local_conv/kernel" in leaves:
                strides = (2, 2, 2) if stage > 1 and i == 1 else (1, 1, 1)
                x = block(x, f"backbone/stage{stage}_block{i}", strides)
                i += 1
        return x.mean((2, 3, 4)) @ leaves["head/fc/kernel"] + leaves["head/fc/bias"], min(gaps)

    return run


@pytest.mark.parity
def test_logits_are_those_of_the_same_network_in_pytorch(random_variables):
    """Odd sizes at every stage, 12 frames, and one stage of two blocks."""
    torch = pytest.importorskip("torch")
    model = tempo.create_model("mtnet_m", 5, backbone={**FIELDS, "depths": (1, 2, 1, 0)})
    rng = np.random.default_rng(1)
    video = rng.normal(size=(2, 12, 50, 38, 3)) + 2 * rng.normal(size=(2, 12, 1, 1, 3))
    video = video.astype(np.float32)
    variables = random_variables(model, video, train=False)
    with torch.no_grad():
        run = torch_network(variables, torch)
        expected, gap = run(torch.from_numpy(np.moveaxis(video, -1, 1).copy()))
    assert gap > 1e-4  # no two frames are as good as each other
    got = jax.jit(lambda v, x: model.apply(v, x, train=False)["logits"])(variables, video)
    assert np.abs(expected.numpy()).max() > 0.1
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_eight_clips_are_learnt_by_heart(random_variables, dtype):
    """All of them right within 200 steps, compiled once, and as well in bfloat16."""
    fields = {**FIELDS, "widths": (8, 16, 16, 16), "depths": (0, 1, 0, 0)}
    model = tempo.create_model(
        "mtnet_m", 4, backbone=fields, head={"dropout_prob": 0.0}, dtype=dtype
    )
    video = np.random.default_rng(1).normal(size=(8, 4, 16, 16, 3)).astype(np.float32)
    label = jnp.arange(8) % 4
    optimizer = optax.sgd(0.1, momentum=0.9)
    traced = []

    @jax.jit
    def step(variables, state):
        traced.append(1)

        def loss_of(params):
            both = {**variables, "params": params}
            outputs, stats = model.apply(both, video, train=True, mutable=["batch_stats"])
            loss = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], label)
            return loss.mean(), (stats, (outputs["logits"].argmax(-1) == label).all())

        (loss, (stats, is_done)), grads = jax.value_and_grad(loss_of, has_aux=True)(
            variables["params"]
        )
        updates, state = optimizer.update(grads, state)
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, **stats}, state, loss, is_done

    variables = random_variables(model, video, train=False)
    state = optimizer.init(variables["params"])
    losses, is_done = [], False
    while not (is_done and losses[-1] < 0.5 * losses[0]) and len(losses) < 199:
        variables, state, loss, is_done = step(variables, state)
        losses.append(float(loss))
    assert is_done
    assert losses[-1] < 0.5 * losses[0]
    assert len(traced) == 1
