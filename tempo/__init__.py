"""tempo: video action recognition networks in JAX/Flax.

    model = tempo.create_model("tpn_slowonly_r50", num_classes=400)
    variables = model.init(jax.random.key(0), video, train=False)   # video [B,T,H,W,3], normalised
    logits = model.apply(variables, video, train=False)["logits"]   # [B,400]
    model, variables, info = tempo.load_model("runs/x")   # of a checkpoint alone

Names are resolved on first use, so `import tempo` loads neither jax nor a video codec.
"""

import importlib

from tempo.version import __version__

_PUBLIC = {
    "InputError": "tempo.errors",
    "create_model": "tempo.models",
    "list_models": "tempo.models",
    "load_model": "tempo.pretrained",
}

__all__ = ["InputError", "__version__", "create_model", "list_models", "load_model"]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tempo' has no attribute {name!r}")


def __dir__():
    return __all__
