"""Public architectures in torch, written from their tables of keys: `state_dict()` has their names.

`BLOCKS` blocks per stage unless told otherwise, any width. `mm` names modules as mmaction2 does,
`tv` as torchvision and the two releases do. Tests compare converted weights with these networks,
benchmarks time them at full size.
"""

import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = (2, 1, 1, 1)
GROUPS = 4


def shift(x, num_frames):
    """Temporal shift of `[N*T,C,H,W]` by an eighth of the channels each way."""
    x = x.view(-1, num_frames, *x.shape[1:])
    fold = x.shape[2] // 8
    out = torch.zeros_like(x)
    out[:, :-1, :fold] = x[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
    return out.flatten(0, 1)


class Shifted(nn.Module):
    """A convolution behind a temporal shift, as `.net`."""

    def __init__(self, net, num_frames):
        super().__init__()
        self.net, self.num_frames = net, num_frames

    def forward(self, x):
        """`[N*T,C,H,W]`, shifted and convolved."""
        return self.net(shift(x, self.num_frames))


def conv(flat, c_in, c_out, kernel, stride=(1, 1, 1), groups=1):
    """A convolution with symmetric padding and no bias; 2-D if `flat`."""
    pad = tuple(k // 2 for k in kernel)
    if flat:
        return nn.Conv2d(c_in, c_out, kernel[1:], stride[1:], pad[1:], groups=groups, bias=False)
    return nn.Conv3d(c_in, c_out, kernel, stride, pad, groups=groups, bias=False)


def norm(flat, channels):
    """A batch norm, 2-D if `flat`."""
    return (nn.BatchNorm2d if flat else nn.BatchNorm3d)(channels)


class Unit(nn.Module):
    """Convolution, norm, activation: `.conv`, `.bn`."""

    def __init__(self, *args, flat=False, has_norm=True, act=True, **kwargs):
        super().__init__()
        self.conv = conv(flat, *args, **kwargs)
        self.bn = norm(flat, args[1]) if has_norm else None
        self.act = act

    def forward(self, x):
        """Of the convolution's shape."""
        x = self.conv(x)
        x = x if self.bn is None else self.bn(x)
        return F.relu(x) if self.act else x


class Block(nn.Module):
    """A bottleneck. `shortcut`: what the projection reads, the shifted input or the plain one."""

    def __init__(self, style, flat, c_in, width, stride, kernel_t, frames, shortcut, expansion):
        super().__init__()
        self.style, self.expansion = style, expansion
        c_out, space = width * expansion, (1, stride, stride)
        self.in_place = shortcut == "shifted"
        self.frames = frames
        shapes = [
            (c_in, width, (kernel_t, 1, 1), (1, 1, 1)),
            (width, width, (1, 3, 3), space),
            (width, c_out, (1, 1, 1), (1, 1, 1)),
        ]
        if expansion == 1:
            shapes = [(c_in, width, (kernel_t, 3, 3), space), (width, width, (1, 3, 3), (1, 1, 1))]
        self.count = len(shapes)
        has_projection = stride != 1 or c_in != c_out
        self.downsample = None
        for n, (a, b, kernel, s) in enumerate(shapes, start=1):
            wrap = frames and not self.in_place and n == 1
            if style == "mm":
                unit = Unit(a, b, kernel, s, flat=flat, act=n < self.count)
                if wrap:
                    unit.conv = Shifted(unit.conv, frames)
                setattr(self, f"conv{n}", unit)
            else:
                made = conv(flat, a, b, kernel, s)
                setattr(self, f"conv{n}", Shifted(made, frames) if wrap else made)
                setattr(self, f"bn{n}", norm(flat, b))
        if has_projection and style == "mm":
            self.downsample = Unit(c_in, c_out, (1, 1, 1), space, flat=flat, act=False)
        elif has_projection:
            self.downsample = nn.Sequential(
                conv(flat, c_in, c_out, (1, 1, 1), space), norm(flat, c_out)
            )

    def forward(self, x):
        """`[N,C,...]` -> `[N,width*expansion,...]`."""
        shifted = shift(x, self.frames) if self.frames and self.in_place else x
        y = shifted
        for n in range(1, self.count + 1):
            y = getattr(self, f"conv{n}")(y)
            if self.style == "tv":
                y = getattr(self, f"bn{n}")(y)
                y = F.relu(y) if n < self.count else y
        if self.downsample is not None:
            x = self.downsample(shifted)
        return F.relu(y + x)


class ResNet(nn.Module):
    """Four stages. `frames`: T of the temporal shift, 0 for none; `extra`: channels that join."""

    def __init__(
        self, style, flat, width, kernels_t=(1, 1, 1, 1), *, blocks=BLOCKS, frames=0,
        shift_every=1, shortcut="plain", stem_t=1, expansion=4, extra=lambda c: 0,
    ):  # fmt: skip
        super().__init__()
        self.style, self.flat = style, flat
        stem = (3, width, (stem_t, 7, 7), (1, 2, 2))
        if style == "mm":
            self.conv1 = Unit(*stem, flat=flat)
        else:
            self.conv1, self.bn1 = conv(flat, *stem), norm(flat, width)
        c_in = width
        for s, count in enumerate(blocks):
            c_in += extra(c_in)
            layers = []
            for b in range(count):
                stride = 2 if s and not b else 1
                has_shift = frames if b % shift_every == 0 else 0
                layers.append(
                    Block(style, flat, c_in, width * 2**s, stride, kernels_t[s], has_shift,
                          shortcut, expansion)
                )  # fmt: skip
                c_in = width * 2**s * expansion
            setattr(self, f"layer{s + 1}", nn.Sequential(*layers))
        self.channels = c_in

    def stem(self, x):
        """What the first stage reads: a quarter of the height and width."""
        x = self.conv1(x)
        x = x if self.style == "mm" else F.relu(self.bn1(x))
        return F.max_pool2d(x, 3, 2, 1) if self.flat else F.max_pool3d(
            x, (1, 3, 3), (1, 2, 2), (0, 1, 1)
        )  # fmt: skip

    def forward(self, x):
        """`[N,3,T,H,W]` -> the features of the stages, `[N,C,T,H',W']`."""
        n, t = x.shape[0], x.shape[2]
        x = self.stem(x.transpose(1, 2).flatten(0, 1) if self.flat else x)
        out = []
        for s in range(4):
            x = getattr(self, f"layer{s + 1}")(x)
            out.append(x.view(n, t, *x.shape[1:]).transpose(1, 2) if self.flat else x)
        return out


def named(**modules):
    """A module of modules under these names (a dot in a name cannot be)."""
    return nn.ModuleDict(modules)


class Neck(nn.Module):
    """The pyramid over res4 and res5, `top` channels in res5; names after `style`."""

    def __init__(self, style, top, num_classes, alphas, flow, groups=None):
        super().__init__()
        self.style, self.alphas, self.flow = style, alphas, flow
        half, groups = top // 2, groups or GROUPS
        mm = style == "mm"
        self.spatial_modulation = named(
            spatial_modulation=nn.ModuleList(
                [nn.ModuleList([Unit(half, top, (1, 3, 3), (1, 2, 2))]), nn.Identity()]
            )
        )
        plain = {"has_norm": False, "act": False}

        def bare(*args, **kwargs):
            return named(
                conv=Unit(*args, **kwargs, **plain) if mm else conv(False, *args, **kwargs)
            )

        def level():
            args = (half, half, (1, 1, 1))
            if mm:
                return named(conv=Unit(*args, groups=groups))
            return named(conv=conv(False, *args, groups=groups), norm=norm(False, half))

        def fuse(c_in):
            made = Unit(c_in, top, (1, 1, 1))
            return made if mm else nn.Sequential(made.conv, made.bn)

        def fusion():
            levels = nn.ModuleList([level(), level()])
            return named(**{"downsamples" if mm else "ops": levels}, fusion_conv=fuse(top))

        self.temporal_modulation_ops = nn.ModuleList(
            [bare(top, half, (3, 1, 1), groups=groups) for _ in alphas]
        )
        laterals = nn.ModuleList([bare(half, half, (3, 1, 1))])
        aux = Unit(half, top, (1, 3, 3), (1, 2, 2))
        self.aux_head = named(**{"conv" if mm else "convs": aux}, fc=nn.Linear(top, num_classes))
        names = MM_NECK if mm else RELEASE_NECK
        for name, module in zip(names, (laterals, fusion(), fusion(), fuse(2 * top)), strict=True):
            setattr(self, name, module)

    def _fuse(self, module, levels, rate):
        levels = [pool(levels[0], rate), levels[1]]
        parts = module["downsamples" if self.style == "mm" else "ops"]
        out = []
        for part, x in zip(parts, levels, strict=True):
            x = part["conv"](x)
            out.append(x if self.style == "mm" else F.relu(part["norm"](x)))
        return F.relu(module["fusion_conv"](torch.cat(out, 1)))

    def auxiliary(self, stages):
        """Logits of the auxiliary head, `[N,K]`, of res4."""
        x = self.aux_head["conv" if self.style == "mm" else "convs"](stages[2])
        return self.aux_head["fc"](F.dropout(x.mean((2, 3, 4)), 0.5, self.training))

    def forward(self, stages):
        """Features of the stages -> one map `[N,top,T',H,W]`."""
        lateral, top_down, bottom_up, last = (
            getattr(self, name) for name in (MM_NECK if self.style == "mm" else RELEASE_NECK)
        )
        (spatial,), _ = self.spatial_modulation["spatial_modulation"]
        levels = [
            pool(op["conv"](x), alpha)
            for op, x, alpha in zip(
                self.temporal_modulation_ops, (spatial(stages[2]), stages[3]), self.alphas,
                strict=True,
            )
        ]  # fmt: skip
        rate = self.alphas[1] // self.alphas[0]
        up = F.interpolate(levels[1], scale_factor=(rate, 1, 1), mode="nearest")
        td = [levels[0] + up, levels[1]]
        start = td if self.flow == "cascade" else levels
        bu = [start[0], start[1] + pool(lateral[0]["conv"](start[0]), rate)]
        pyramids = [self._fuse(top_down, td, rate), self._fuse(bottom_up, bu, rate)]
        return F.relu(last(torch.cat(pyramids, 1)))


# Laterals, fusion of the top-down pyramid, of the bottom-up one, of both.
MM_NECK = ("downsample_ops", "level_fusion_1", "level_fusion_2", "pyramid_fusion")
RELEASE_NECK = ("downsampling_ops", "level_fusion_op2", "level_fusion_op", "pyramid_fusion_op")


def pool(x, rate):
    """Max pool over `rate` frames, the last ones included."""
    return F.max_pool3d(x, (rate, 1, 1), (rate, 1, 1), ceil_mode=True)


class MMAction(nn.Module):
    """A recognizer of mmaction2 or, with `style="tv"`, of the TPN release."""

    def __init__(self, style, backbone, num_classes, alphas=None, flow="cascade", groups=None):
        super().__init__()
        self.backbone = backbone
        top = backbone.channels
        if alphas:
            name = "neck" if style == "mm" else "necks"
            setattr(self, name, Neck(style, top, num_classes, alphas, flow, groups))
        self.cls_head = named(fc_cls=nn.Linear(top, num_classes))

    def forward(self, x):
        """`[N,3,T,H,W] -> [N,K]`; in training with a neck, also the auxiliary `[N,K]`."""
        stages = self.backbone(x)
        neck = getattr(self, "neck", getattr(self, "necks", None))
        x = stages[3] if neck is None else neck(stages)
        logits = self.cls_head["fc_cls"](F.dropout(x.mean((2, 3, 4)), 0.5, self.training))
        if self.training and neck is not None:
            return logits, neck.auxiliary(stages)
        return logits


class TorchVision(ResNet):
    """An image classifier; of a clip, the mean of its frames' logits."""

    def __init__(self, width, num_classes, **kwargs):
        super().__init__("tv", True, width, **kwargs)
        self.fc = nn.Linear(self.channels, num_classes)

    def forward(self, x):
        """`[N,3,T,H,W] -> [N,K]`."""
        x = super().forward(x)[3].mean((2, 3, 4))
        return self.fc(F.dropout(x, 0.5, self.training))


class TSMRelease(nn.Module):
    """MIT's TSM as it is saved: below `module.`, the classifier as `new_fc`."""

    def __init__(self, width, num_classes, frames, **kwargs):
        super().__init__()
        base = ResNet("tv", True, width, frames=frames, **kwargs)
        self.module = named(base_model=base, new_fc=nn.Linear(base.channels, num_classes))

    def forward(self, x):
        """`[N,3,T,H,W] -> [N,K]`."""
        return self.module["new_fc"](self.module["base_model"](x)[3].mean((2, 3, 4)))


class SlowFast(nn.Module):
    """mmaction2's SlowFast: the slow path sees every alpha-th frame; linear over (fast, slow)."""

    def __init__(self, width, num_classes, alpha, kernel, lateral_norm, blocks=BLOCKS):
        super().__init__()
        self.alpha, ratio = alpha, 8
        slow = ResNet(
            "mm", False, width, (1, 1, 3, 3), blocks=blocks, extra=lambda c: 2 * c // ratio
        )
        fast = ResNet("mm", False, width // ratio, (3, 3, 3, 3), blocks=blocks, stem_t=5)
        for i in range(4):
            c = (width if i == 0 else width * 2 ** (i + 1)) // ratio
            made = Unit(
                c, 2 * c, (kernel, 1, 1), (alpha, 1, 1), has_norm=lateral_norm, act=lateral_norm
            )
            setattr(slow, "conv1_lateral" if i == 0 else f"layer{i}_lateral", made)
        self.backbone = named(slow_path=slow, fast_path=fast)
        self.cls_head = named(fc_cls=nn.Linear(slow.channels + fast.channels, num_classes))

    def forward(self, x):
        """`[N,3,T,H,W] -> [N,K]`."""
        slow, fast = self.backbone["slow_path"], self.backbone["fast_path"]
        a, b = slow.stem(x[:, :, :: self.alpha]), fast.stem(x)
        a = torch.cat([a, slow.conv1_lateral(b)], 1)
        for i in range(1, 5):
            a, b = getattr(slow, f"layer{i}")(a), getattr(fast, f"layer{i}")(b)
            if i < 4:
                a = torch.cat([a, getattr(slow, f"layer{i}_lateral")(b)], 1)
        pooled = [x.mean((2, 3, 4)) for x in (b, a)]
        return self.cls_head["fc_cls"](torch.cat(pooled, 1))


def filled(module, seed=0):
    """The module in evaluation with random weights and norm statistics of a sane range."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            last = name.split(".")[-1]
            if last == "num_batches_tracked":
                value.fill_(7)
            elif value.ndim > 1:
                value.normal_(0, value[0].numel() ** -0.5, generator=g)
            elif last == "running_var" or last == "weight":
                value.uniform_(0.5, 1.5, generator=g)
            else:
                value.normal_(0, 0.2, generator=g)
    return module.eval()
