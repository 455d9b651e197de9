"""jax's cache of programs in a folder of the tests, for runs that compile the same again."""

import contextlib

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextlib.contextmanager
def kept_in(folder):
    """Every program compiled meanwhile is kept in the folder, and comes from it."""
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    _set(settings)
    try:
        yield
    finally:
        _set(before)


def _set(settings):
    for name, value in settings.items():
        jax.config.update(name, value)
    # jax looks at the setting once, when it first compiles.
    compilation_cache.reset_cache()
