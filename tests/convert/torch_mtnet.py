"""The released two-stream MTNet in PyTorch, written anew, with the release's names of arrays."""

import torch
from torch import nn
from torch.nn import functional

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


def fewer_frames(x):
    """The floor(T / 2) inner frames whose squared cosines with their neighbours are highest."""
    if x.shape[2] <= 2:
        return x
    means = nn.functional.normalize(x.mean((3, 4)), dim=1, eps=1e-4)
    squares = (means[:, :, 1:] * means[:, :, :-1]).sum(1) ** 2
    scores = (squares[:, 1:] + squares[:, :-1]) / 2
    chosen = scores.topk(x.shape[2] // 2).indices.sort().values + 1
    return torch.stack([clip[:, frames] for clip, frames in zip(x, chosen, strict=True)])


def fitted(x, like):
    return functional.interpolate(x, size=like.shape[2:], mode="trilinear", align_corners=False)


class MTConv(nn.Module):
    def __init__(self, channels, features, ratio, kernel=(1, 1, 1), stride=1, lateral=True,
                 pools=True):  # fmt: skip
        super().__init__()
        short, out = int(channels * ratio), int(features * ratio)
        padding = tuple(k // 2 for k in kernel)
        self.conv_short = nn.Conv3d(short, out, kernel, stride, padding, bias=False)
        self.conv_long = nn.Conv3d(
            channels - short, features - out, kernel, stride, padding, bias=False
        )
        if lateral:
            self.conv_short2long = nn.Conv3d(out, features - out, 1, bias=False)
        self.norm_short = nn.BatchNorm3d(out)
        self.norm_long = nn.BatchNorm3d(features - out)
        self.lateral, self.pools = lateral, pools

    def forward(self, streams):
        short, long = self.conv_short(streams[0]), self.conv_long(streams[1])
        normed = self.norm_long(long)
        if self.lateral:
            x = functional.avg_pool3d(short, (1, 2, 2)) if self.pools else short
            x = self.conv_short2long(fitted(fewer_frames(x), long))
            normed = normed + self.norm_long(x)
        return self.norm_short(short), normed


class Gate(nn.Module):
    def __init__(self, channels, cell, layers):
        super().__init__()
        self.op = CELLS[cell](channels, channels, layers)

    def forward(self, x):
        gates, _ = self.op(x.mean((3, 4)).permute(2, 0, 1))
        return x * gates.permute(1, 2, 0)[..., None, None]


class Block(nn.Module):
    def __init__(self, channels, features, stride, ratio, cell, layers, pools):
        super().__init__()
        is_strided = stride > 1 or channels != features
        options = {"ratio": ratio, "pools": pools}
        self.conv1_1 = MTConv(channels, features, **options)
        self.conv1_2 = MTConv(features, channels, **options)
        self.conv2 = MTConv(channels, features, kernel=(3, 3, 3), stride=stride, **options)
        last = (1, 1, 1) if is_strided else (1, 3, 3)
        self.conv3 = MTConv(features, features, kernel=last, **options)
        if is_strided:
            self.downsample = MTConv(channels, features, ratio, stride=stride, lateral=False)
        self.sr_short = Gate(int(features * ratio), cell, layers)
        self.sr_long = Gate(features - int(features * ratio), cell, layers)

    def forward(self, streams):
        y = streams
        for conv in (self.conv1_1, self.conv1_2, self.conv2):
            y = [x.relu() for x in conv(y)]
        y = self.conv3(y)
        if hasattr(self, "downsample"):
            short, long = streams
            if long.shape[3] < 3:
                long = functional.interpolate(long, size=(long.shape[2], 3, 3), mode="trilinear")
            streams = self.downsample((short, long))
        gated = self.sr_short(y[0]), self.sr_long(y[1])
        return [
            (branch + fitted(x, branch)).relu()
            for branch, x in zip(gated, streams, strict=True)
        ]  # fmt: skip


class Net(nn.Module):
    def __init__(self, num_classes, depths=(1, 1, 1, 1), width=64, ratio=0.875, cell="gru",
                 layers=2, pools=True):  # fmt: skip
        super().__init__()
        stem = nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(width), nn.ReLU())
        channels = width
        for stage, depth in enumerate(depths):
            features, blocks = width * 2**stage, []
            for i in range(depth):
                stride = 2 if stage and not i else 1
                blocks.append(Block(channels, features, stride, ratio, cell, layers, pools))
                channels = features
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, num_classes)
        self.num_short = int(width * ratio)

    def forward(self, x):
        x = self.stem(x)
        if x.shape[3] % 2 or x.shape[4] % 2:
            x = functional.pad(x, (1, 0, 1, 0, 0, 0), "replicate")
        x = fewer_frames(functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1)))
        short, long = x[:, : self.num_short], x[:, self.num_short :]
        streams = short, fewer_frames(functional.avg_pool3d(long, (1, 2, 2)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            streams = layer(streams)
        return self.fc(torch.cat([x.mean((2, 3, 4)) for x in streams], 1))
