"""BN-Inception and VGG-16 in torch, written from their tables of keys, as narrow as one likes."""

import torch
from torch import nn
from torch.nn import functional as F

# Block: 1x1, 3x3, double 3x3 (each with what reduces), pool and its projection; x32 channels at 64.
INCEPTIONS = {
    "3a": (64, (64, 64), (64, 96, 96), 32),
    "3b": (64, (64, 96), (64, 96, 96), 64),
    "3c": (0, (128, 160), (64, 96, 96), 0),
    "4a": (224, (64, 96), (96, 128, 128), 128),
    "4b": (192, (96, 128), (96, 128, 128), 128),
    "4c": (160, (128, 160), (128, 160, 160), 128),
    "4d": (96, (128, 192), (160, 192, 192), 128),
    "4e": (0, (128, 192), (192, 256, 256), 0),
    "5a": (352, (192, 320), (160, 224, 224), 128),
    "5b": (352, (192, 320), (192, 224, 224), 128),
}


class BNInception(nn.Module):
    """Frame by frame; of a clip, the mean of its frames' logits."""

    def __init__(self, width, num_classes, channels=3):
        super().__init__()
        self.scale = lambda n: n * width // 64
        self._unit("conv1_7x7_s2", channels, 64, 7, 2)
        self._unit("conv2_3x3_reduce", self.scale(64), 64)
        self._unit("conv2_3x3", self.scale(64), 192, 3)
        size = self.scale(192)
        for name, (one, three, double, proj) in INCEPTIONS.items():
            size = self._block(f"inception_{name}_", size, one, three, double, proj)
        self.last_linear = nn.Linear(size, num_classes)

    def _unit(self, name, c_in, c_out, side=1, stride=1):
        c_out = self.scale(c_out)
        self.add_module(name, nn.Conv2d(c_in, c_out, side, stride, side // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(c_out))
        return c_out

    def _block(self, name, size, one, three, double, proj):
        stride = 1 if one else 2
        total = self._unit(f"{name}1x1", size, one) if one else size
        reduced = self._unit(f"{name}3x3_reduce", size, three[0])
        total += self._unit(f"{name}3x3", reduced, three[1], 3, stride)
        reduced = self._unit(f"{name}double_3x3_reduce", size, double[0])
        reduced = self._unit(f"{name}double_3x3_1", reduced, double[1], 3)
        total += self._unit(f"{name}double_3x3_2", reduced, double[2], 3, stride)
        return total + self._unit(f"{name}pool_proj", size, proj) if proj else total

    def _run(self, x, *names):
        for name in names:
            x = F.relu(getattr(self, f"{name}_bn")(getattr(self, name)(x)))
        return x

    def forward(self, clip):
        x = clip.movedim(2, 1).flatten(0, 1)
        x = F.max_pool2d(self._run(x, "conv1_7x7_s2"), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self._run(x, "conv2_3x3_reduce", "conv2_3x3"), 3, 2, ceil_mode=True)
        for name, (one, *_) in INCEPTIONS.items():
            p = f"inception_{name}_"
            double = [f"{p}double_3x3_{end}" for end in ("reduce", "1", "2")]
            branches = [self._run(x, f"{p}3x3_reduce", f"{p}3x3"), self._run(x, *double)]
            if not one:
                x = torch.cat([*branches, F.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
                continue
            pool = F.max_pool2d if name == "5b" else F.avg_pool2d
            pooled = self._run(pool(x, 3, 1, 1), f"{p}pool_proj")
            x = torch.cat([self._run(x, f"{p}1x1"), *branches, pooled], 1)
        return self.last_linear(x.mean((2, 3))).unflatten(0, (len(clip), -1)).mean(1)


class VGG(nn.Module):
    """As torchvision numbers it; of a clip, the mean of its frames' logits."""

    def __init__(self, width, features, num_classes, side=1):
        super().__init__()
        layers, size = [], 3
        for stage, depth in enumerate((2, 2, 3, 3, 3)):
            for _ in range(depth):
                channels = width * min(2**stage, 8)
                layers += [nn.Conv2d(size, channels, 3, 1, 1), nn.ReLU()]
                size = channels
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(size * side**2, features), nn.ReLU(), nn.Dropout(),
            nn.Linear(features, features), nn.ReLU(), nn.Dropout(),
            nn.Linear(features, num_classes),
        )  # fmt: skip

    def forward(self, clip):
        x = self.features(clip.movedim(2, 1).flatten(0, 1)).flatten(1)
        return self.classifier(x).unflatten(0, (len(clip), -1)).mean(1)
