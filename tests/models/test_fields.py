"""Values that the fields of a backbone cannot have are told when it is made."""

import numpy as np
import pytest

import tempo
from tempo import models

ROW = {"variant": "c2d_r50", "depths": (1, 1, 1, 1), "width": 8}
PLACES = "nonlocal_blocks must have a list of different whole numbers per stage; got "


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nonlocal_blocks": (1, 0, 0, 0)}, PLACES + "1 for res2"),
        ({"nonlocal_blocks": ((), ("0",), (), ())}, PLACES),
        ({"nonlocal_blocks": ((), (0, 0), (), ())}, PLACES),
        ({"nonlocal_blocks": 1}, "nonlocal_blocks needs one entry per stage, 4; got 1"),
        ({"kernels_t": (1, 1, (), 1)}, "kernels_t must have an odd whole number"),
        ({"kernels_t": (1, 1, 2, 1)}, "got 2 for res4"),
        ({"strides": ((1, 2), 2, 2, 2)}, "strides must have a whole number of at least 1"),
        ({"depths": (1, 1.5, 1, 1)}, "depths must have a whole number of at least 0"),
        ({"stem_kernel_t": 0}, "stem_kernel_t must be an odd whole number; got 0"),
        ({"pool1_kernel_t": 2}, "pool1_kernel_t must be an odd whole number; got 2"),
        ({"expansion": -1}, "expansion must be a whole number of at least 0; got -1"),
        ({"stem_inner": -3}, "stem_inner must be"),
        ({"width": True}, "width must be"),
        ({"stem_pool": "no"}, "stem_pool must be True or False; got 'no'"),
        ({"downsample": ["pool_block"]}, "Unknown downsample"),
        ({"variant": "slowfast_r50", "slow_stride": "8"}, "slow_stride must be a whole number"),
    ],
    ids=str,
)
def test_values_that_fields_cannot_have(fields, message):
    with pytest.raises(tempo.InputError) as error:
        models.create(3, backbone={**ROW, **fields})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_and_numbers_of_numpy_are_as_good():
    kernels_t = [[3, 1], np.int64(1), 1, 1]
    row = {**ROW, "depths": [1, 0, 1, np.int64(1)], "kernels_t": kernels_t}
    assert models.create(3, backbone=row).backbone.block_kernels(1, 0) == (1, 1, 1)
