"""The backend that a program is traced for, which decides how layers are computed."""

from contextlib import AbstractContextManager

import jax

_BACKEND = jax.make_user_context(default_value=None)


def backend() -> str:
    """Name of the backend that what is traced now is for: the default outside `compiled_for`."""
    return _BACKEND.value or jax.default_backend()


def compiled_for(name: str) -> AbstractContextManager:
    """A block in which programs are traced for backend `name`, which need not be present.

    jax keeps what it traces in the block apart from what it traces outside.
    """
    return _BACKEND(name)
