import flax.linen as nn
import pytest

from tempo import errors


def test_nearest_suggests_a_close_name_else_lists_all():
    assert errors.nearest("momentun", ["momentum", "nesterov"]) == " Did you mean 'momentum'?"
    assert errors.nearest("zzz", ["b", "a"]) == " Choose from: a, b."


def test_lookup_names_the_kind_of_thing():
    assert errors.lookup({"a": 1}, "a", "thing") == 1
    with pytest.raises(errors.InputError, match="Unknown thing 'aa'"):
        errors.lookup({"a": 1}, "aa", "thing")


def test_check_keys_takes_keyword_only_parameters_if_there_are_any():
    def function(given, *, momentum=0.9, name="sgd"):
        del given, momentum, name

    errors.check_keys("config.optim", ["momentum", "name"], function)
    with pytest.raises(errors.InputError, match=r"config\.optim has no key 'given'"):
        errors.check_keys("config.optim", ["given"], function)
    with pytest.raises(errors.InputError, match="Did you mean 'momentum'"):
        errors.check_keys("config.optim", ["momentun"], function)


def test_check_keys_of_a_module_leaves_out_what_linen_adds():
    class Block(nn.Module):
        width: int = 1

    errors.check_keys("block", ["width"], Block)
    with pytest.raises(errors.InputError, match="parent"):
        errors.check_keys("block", ["parent"], Block)
