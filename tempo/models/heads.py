"""Heads: features to class scores."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from tempo.errors import InputError
from tempo.models import fields

AXES = (1, 2, 3)  # T, H, W


class PoolHead(nn.Module):
    """Global average pool, dropout, one linear layer; float32 from the pool on.

    Of several feature maps (pathways) each is pooled and the pooled features are concatenated.

    Attributes:
      num_classes: K.
      dropout_prob: probability of dropping a pooled feature in training.
      fully_convolutional: score every location and average the scores instead of the features.
        Equal without dropout; kept because public test code of TPN does it this way. For one
        feature map only.
      use_bias: the linear layer has a bias.
      init_std: of the linear layer's initial weights.
    """

    num_classes: int
    dropout_prob: float = 0.5
    fully_convolutional: bool = False
    use_bias: bool = True
    init_std: float = 0.01

    def __post_init__(self):
        if not fields.is_number(self.init_std) or self.init_std < 0:
            raise InputError(
                f"head.init_std must be a number of at least 0, such as 0.001; got "
                f"{self.init_std!r}."
            )
        super().__post_init__()

    def embed(self, x):
        """What the linear layer reads, before dropout: `[B,D]` float32.

        Args:
          x: `[B,T,H,W,C]`, D = C; or a tuple of such of any sizes, D the sum of their channels.
        """
        maps = x if isinstance(x, tuple) else (x,)
        return jnp.concatenate([m.astype(jnp.float32).mean(AXES) for m in maps], -1)

    def embed_and_score(self, x, *, train: bool):
        """What `embed` and the head itself give."""
        return self.embed(x), self(x, train=train)

    @nn.compact
    def __call__(self, x, *, train: bool):
        """What `embed` takes -> logits `[B,K]` float32. Training needs the `dropout` rng.

        Raises:
          InputError: a fully convolutional head on several feature maps.
        """
        if not self.fully_convolutional:
            x = self.embed(x)
        elif isinstance(x, tuple):
            raise InputError(
                f"head.fully_convolutional scores the locations of one feature map; got {len(x)} "
                "pathways; leave it off."
            )
        x = x.astype(jnp.float32)
        x = nn.Dropout(self.dropout_prob, deterministic=not train, name="dropout")(x)
        x = _classifier(self.num_classes, self.use_bias, self.init_std)(x)
        return x.mean(AXES) if self.fully_convolutional else x


class X3DHead(nn.Module):
    """The head of X3D (arXiv 2004.04730, table 1): conv5, global average pool, fc1, fc.

    A 1x1x1 convolution with norm and ReLU widens the features; their mean over the clip goes
    through a linear layer with ReLU, dropout, and the classifier. Float32 from the pool on.

    The public code takes the mean over as many features as a training clip has and, where a test
    clip is larger, scores every place of that window; softmax of the logits is then the mean of
    the scores. In training, the logits are the mean of those of all places.

    Attributes:
      num_classes: K.
      conv, norm: factories; `norm` takes `use_running_average`.
      dropout_prob: probability of dropping an input of the classifier in training.
      features: of the linear layer before the classifier.
      expansion: channels of the convolution, as a multiple of those that it reads (cut off).
      window: along T, H, W, the features that one score is of: of 13x160x160 clips 13, 5, 5.
        Empty, or where there are no more than that: all of them.
    """

    num_classes: int
    conv: Callable
    norm: Callable
    dropout_prob: float = 0.5
    features: int = 2048
    expansion: float = 2.25
    window: Sequence[int] = ()

    def __post_init__(self):
        window = self.window
        is_window = isinstance(window, list | tuple) and len(window) in (0, 3)
        if not is_window or not all(map(fields.is_whole, window)):
            raise InputError(
                "head.window must be frames, rows and columns of the last features, each at least "
                f"1, or empty for all of them; got {window!r}."
            )
        super().__post_init__()

    @nn.compact
    def embed_and_score(self, x, *, train: bool):
        """`[B,T,H,W,C]` -> what the classifier reads, `[B,features]`, and logits `[B,K]`; float32.

        Training needs the `dropout` rng.

        Raises:
          InputError: several feature maps, or no channels for the convolution or linear layer.
        """
        if isinstance(x, tuple):
            raise InputError(
                f"The head x3d reads one feature map; got {len(x)} pathways; use the head pool."
            )
        width = int(self.expansion * x.shape[-1])
        if min(width, self.features) < 1:
            raise InputError(
                f"head.expansion={self.expansion!r} and head.features={self.features!r} must leave "
                f"at least one channel of {x.shape[-1]}."
            )
        x = self.conv(width, name="conv5")(x)
        x = nn.relu(self.norm(use_running_average=not train, name="norm5")(x))
        x = x.astype(jnp.float32)
        fc1 = self.conv(self.features, dtype=jnp.float32, name="fc1")
        dropout = nn.Dropout(self.dropout_prob, deterministic=not train, name="dropout")
        fc = _classifier(self.num_classes)
        embedding = nn.relu(fc1(x.mean(AXES, keepdims=True)))
        places = self._places(x)
        if places is None:
            return embedding[:, 0, 0, 0], fc(dropout(embedding))[:, 0, 0, 0]
        logits = fc(dropout(nn.relu(fc1(places))))
        if train:
            logits = logits.mean(AXES)
        else:
            count = math.prod(places.shape[1:4])
            logits = jax.nn.logsumexp(jax.nn.log_softmax(logits), AXES) - math.log(count)
        return embedding[:, 0, 0, 0], logits

    def _places(self, x):
        """The means over every place of the window, `[B,T',H',W',C]`; None if there is one."""
        window = [min(k, n) for k, n in zip(self.window, x.shape[1:4], strict=False)]
        if not window or tuple(window) == x.shape[1:4]:
            return None
        sums = lax.reduce_window(x, 0.0, lax.add, (1, *window, 1), (1,) * 5, "VALID")
        return sums / math.prod(window)

    def __call__(self, x, *, train: bool):
        """The logits of `embed_and_score`."""
        return self.embed_and_score(x, train=train)[1]


def _classifier(num_classes: int, use_bias: bool = True, init_std: float = 0.01) -> nn.Dense:
    return nn.Dense(
        num_classes,
        use_bias=use_bias,
        kernel_init=nn.initializers.normal(init_std),
        dtype=jnp.float32,
        name="fc",
    )
