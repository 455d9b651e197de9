"""Modules that public networks have besides those of `torch_nets`, and PySlowFast, in torch."""

import torch
from torch import nn
from torch.nn import functional as F

from experiments.benchmarks.torch_nets import ResNet, conv, named, norm


class NonLocal(nn.Module):
    """A non-local block as mmaction2 (`mm`), MIT's TSM (`tsm`) or PySlowFast (`fb`) names it."""

    def __init__(self, style, channels, mode):
        super().__init__()
        self.style, self.mode = style, mode
        half, bn = channels // 2, nn.BatchNorm3d(channels)

        def project(*, bias=True, out=False):
            sizes = (half, channels) if out else (channels, half)
            return nn.Conv3d(*sizes, 1, bias=bias)

        self.pool = nn.MaxPool3d((1, 2, 2))
        if style == "fb":
            self.conv_theta, self.conv_phi, self.conv_g = (project() for _ in range(3))
            self.conv_out, self.bn = project(out=True), bn
        elif style == "tsm":
            self.theta = project()
            self.phi, self.g = (nn.ModuleList([project(), self.pool]) for _ in range(2))
            self.W = nn.ModuleList([project(out=True), bn])
        else:
            self.theta = named(conv=project())
            self.phi, self.g = (nn.ModuleList([named(conv=project()), self.pool]) for _ in range(2))
            self.conv_out = named(conv=project(out=True, bias=False), bn=bn)

    def parts(self):
        """theta, phi, g, out and the norm."""
        if self.style == "fb":
            return self.conv_theta, self.conv_phi, self.conv_g, self.conv_out, self.bn
        if self.style == "tsm":
            return self.theta, self.phi[0], self.g[0], *self.W
        phi, g = self.phi[0]["conv"], self.g[0]["conv"]
        return self.theta["conv"], phi, g, self.conv_out["conv"], self.conv_out["bn"]

    def forward(self, x):
        theta, phi, g, out, bn = self.parts()
        if self.style == "fb":
            pooled = self.pool(x)
            keys, values = phi(pooled), g(pooled)
        else:
            keys, values = self.pool(phi(x)), self.pool(g(x))
        queries, keys, values = (y.flatten(2) for y in (theta(x), keys, values))
        affinity = queries.transpose(1, 2) @ keys
        if self.mode == "dot_product":
            affinity = affinity / keys.shape[2]
        else:
            scale = queries.shape[1] ** -0.5 if self.mode == "softmax" else 1
            affinity = (scale * affinity).softmax(2)
        y = (affinity @ values.transpose(1, 2)).transpose(1, 2).reshape(theta(x).shape)
        return x + bn(out(y))


class WithNonLocal(nn.Module):
    """A block of a 2-D network with a non-local block behind it."""

    def __init__(self, style, block, channels, frames, mode):
        super().__init__()
        self.block, self.frames = block, frames
        self.name = "nl" if style == "tsm" else "non_local_block"
        setattr(self, self.name, NonLocal(style, channels, mode))

    def forward(self, x):
        x = self.block(x)
        clips = x.unflatten(0, (-1, self.frames)).transpose(1, 2)
        return getattr(self, self.name)(clips).transpose(1, 2).flatten(0, 1)


class WithTAM(nn.Module):
    """A bottleneck of mmaction2's style with a temporal adaptive module behind its `conv1`."""

    def __init__(self, block, channels, frames):
        super().__init__()
        self.block, self.frames = block, frames
        few = channels // 4
        self.tam = named(
            G=nn.Sequential(
                nn.Linear(frames, 2 * frames, bias=False), nn.BatchNorm1d(2 * frames), nn.ReLU(),
                nn.Linear(2 * frames, 3, bias=False), nn.Softmax(-1),
            ),
            L=nn.Sequential(
                nn.Conv1d(channels, few, 3, padding=1, bias=False), nn.BatchNorm1d(few), nn.ReLU(),
                nn.Conv1d(few, channels, 1, bias=False), nn.Sigmoid(),
            ),
        )  # fmt: skip

    def mix(self, x):
        """`[N*T,C,H,W]`: frames summed by a kernel for each clip and channel."""
        x = x.unflatten(0, (-1, self.frames)).transpose(1, 2)
        means = x.mean((3, 4))
        taps = self.tam["G"](means.flatten(0, 1)).unflatten(0, means.shape[:2])
        x = F.pad(x * self.tam["L"](means)[..., None, None], (0, 0, 0, 0, 1, 1))
        y = sum(taps[:, :, k, None, None, None] * x[:, :, k : k + self.frames] for k in range(3))
        return y.transpose(1, 2).flatten(0, 1)

    def forward(self, x):
        y = self.block.conv3(self.block.conv2(self.mix(self.block.conv1(x))))
        return F.relu(y + (x if self.block.downsample is None else self.block.downsample(x)))


def wrapped(resnet, places, wrap):
    """The network with `wrap(block, its output channels)` at (stage, block), both from 0."""
    for s, b in places:
        stage = getattr(resnet, f"layer{s + 1}")
        stage[b] = wrap(stage[b], resnet_width(resnet) * 2**s * 4)
    return resnet


def resnet_width(resnet: ResNet) -> int:
    stem = resnet.conv1 if resnet.style == "tv" else resnet.conv1.conv
    return stem.out_channels


class FBBlock(nn.Module):
    """A bottleneck of PySlowFast."""

    def __init__(self, c_in, width, stride, kernel_t):
        super().__init__()
        space, c_out = (1, stride, stride), 4 * width
        one = (1, 1, 1)
        self.branch2 = named(
            a=conv(False, c_in, width, (kernel_t, 1, 1)), a_bn=norm(False, width),
            b=conv(False, width, width, (1, 3, 3), space), b_bn=norm(False, width),
            c=conv(False, width, c_out, one), c_bn=norm(False, c_out),
        )  # fmt: skip
        self.has_projection = stride != 1 or c_in != c_out
        if self.has_projection:
            self.branch1 = conv(False, c_in, c_out, one, space)
            self.branch1_bn = norm(False, c_out)

    def forward(self, x):
        y = x
        for name in "abc":
            y = self.branch2[f"{name}_bn"](self.branch2[name](y))
            y = F.relu(y) if name < "c" else y
        return F.relu(y + (self.branch1_bn(self.branch1(x)) if self.has_projection else x))


class PySlowFast(nn.Module):
    """A network of one or two pathways of PySlowFast.

    `paths`: (width, stem_t, kernels per stage and block) of each; `nonlocal_blocks` of the first.
    """

    def __init__(
        self, paths, num_classes, *, nonlocal_blocks=(), mode="softmax", alpha=8, kernel=5, pool_t=1
    ):
        super().__init__()
        self.paths, self.alpha, self.pool_t = paths, alpha, pool_t
        channels = [width for width, _, _ in paths]
        stems = {}
        for p, (width, stem_t, _) in enumerate(paths):
            made = conv(False, 3, width, (stem_t, 7, 7), (1, 2, 2))
            stems[f"pathway{p}_stem"] = named(conv=made, bn=norm(False, width))
        self.s1 = named(**stems)
        for s in range(2, 6):
            if len(paths) > 1:
                fast, step = channels[1], (alpha, 1, 1)
                made = conv(False, fast, 2 * fast, (kernel, 1, 1), step)
                setattr(self, f"s{s - 1}_fuse", named(conv_f2s=made, bn=norm(False, 2 * fast)))
                channels[0] += 2 * fast
            stage = {}
            for p, (width, _, kernels) in enumerate(paths):
                for b, kernel_t in enumerate(kernels[s - 2]):
                    inner, stride = width * 2 ** (s - 2), 2 if s > 2 and b == 0 else 1
                    stage[f"pathway{p}_res{b}"] = FBBlock(channels[p], inner, stride, kernel_t)
                    channels[p] = 4 * inner
                    if p == 0 and (s - 2, b) in nonlocal_blocks:
                        stage[f"pathway0_nonlocal{b}"] = NonLocal("fb", 4 * inner, mode)
            setattr(self, f"s{s}", named(**stage))
        self.head = named(projection=nn.Linear(sum(channels), num_classes))

    def forward(self, x):
        frames = torch.linspace(0, x.shape[2] - 1, x.shape[2] // self.alpha).long()
        xs = [x] if len(self.paths) == 1 else [x[:, :, frames], x]
        for p, y in enumerate(xs):
            stem = self.s1[f"pathway{p}_stem"]
            y = F.relu(stem["bn"](stem["conv"](y)))
            xs[p] = F.max_pool3d(y, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for s in range(2, 6):
            if len(xs) > 1:
                fuse = getattr(self, f"s{s - 1}_fuse")
                lateral = F.relu(fuse["bn"](fuse["conv_f2s"](xs[1])))
                xs[0] = torch.cat([xs[0], lateral], 1)
            if s == 3:
                xs = [F.max_pool3d(y, (self.pool_t, 1, 1)) for y in xs]
            stage = getattr(self, f"s{s}")
            for name, module in stage.items():
                p = int(name[len("pathway")])
                xs[p] = module(xs[p])
        return self.head["projection"](torch.cat([y.mean((2, 3, 4)) for y in xs], 1))
