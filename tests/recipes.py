"""The files in `configs/`, loaded as the command loads them, and the stages that they describe."""

import functools
import importlib.util
import pathlib

from tempo import recipe, stages

FOLDER = pathlib.Path(__file__).parents[1] / "configs"


@functools.cache
def module(name):
    """The module `configs/<name>.py`."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def stages_of(name, arg):
    """The checked recipe of every stage, by its name; "" for a run of one."""
    config = module(name).get_config(arg)
    configs = stages.split(config) or {"": config}
    made = {stage: recipe.from_config(own) for stage, own in configs.items()}
    for own in made.values():
        recipe.check_stop(own)
    return made
