"""Clips of a video file with optical flow that is computed on the spot, as a dataset stores it.

A few clips at a time, so that what is in memory does not grow with the video. Fields that clips of
two such parts share are computed for both.
"""

from collections.abc import Iterator

import numpy as np

from tempo.data import flow, flow_codec, host_ops, view_draws
from tempo.data.video import browse, jpeg
from tempo.data.video.video_file import RefusedVideoError
from tempo.types import ViewSpec

# Clips that are read together: their flow overlaps where there are many in a short video.
_AT_ONCE = 8


def views(
    video: browse.Video,
    clips: np.ndarray,
    fields: np.ndarray,
    settings: flow.FlowSettings,
    view: ViewSpec,
    draws: view_draws.Draws | None = None,
    short_side_px: int = 0,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """(row of `clips`, its crops by stream), in the order of the clips' flow.

    `video` is uint8 [num_crops,T,h,w,3], `flow` uint8 [num_crops,S,h,w,2L]: what an evaluation gets
    from a record with flow, but that the frames were not compressed.

    Args:
      video: the file.
      clips: frame numbers of each clip, [n,T].
      fields: flow fields of each clip, [n,S,L].
      settings: how flow is made.
      view: says how frames and flow are resized and cropped.
      draws: of each clip, needed for `random` crops.
      short_side_px: frames are first reduced to this short side, as those of the dataset were; 0
        keeps their size.

    Raises:
      RefusedVideoError: a frame could not be decoded, or is too small for the method.
    """
    order = np.argsort(fields.reshape(len(fields), -1).min(axis=1), kind="stable")
    for first in range(0, len(order), _AT_ONCE):
        rows = order[first : first + _AT_ONCE]
        frames, at_frame = np.unique(clips[rows], return_inverse=True)
        numbers, at_field = np.unique(fields[rows], return_inverse=True)
        streams = _read(video, frames, numbers, settings, short_side_px)
        at_frame = at_frame.reshape(*clips[rows].shape, 1)
        at_field = at_field.reshape(fields[rows].shape)
        for i, row in enumerate(rows):
            places = {"video": at_frame[i : i + 1], "flow": at_field[i : i + 1]}
            own = None
            if draws is not None:
                own = view_draws.Draws(*(part[row : row + 1] for part in draws))
            cut = host_ops.view_streams(streams, places, view, own)
            crops = {name: np.empty(found.shape, np.uint8) for name, found in cut.items()}
            for name, found in cut.items():
                found.copy_to(crops[name])
            yield int(row), crops


def _read(
    video: browse.Video,
    frames: np.ndarray,
    numbers: np.ndarray,
    settings: flow.FlowSettings,
    short_side_px: int,
) -> dict[str, np.ndarray]:
    """The frames [n,H,W,3] and the flow fields [m,H,W,2] of these rising numbers."""
    shown, begins = set(frames.tolist()), set(numbers.tolist())
    pictures, fields = [], []
    encoder = flow_codec.FlowEncoder(settings)
    try:
        for number, picture in browse.frames(video, np.union1d(frames, [numbers, numbers + 1])):
            small = jpeg.resize_short_side(picture, short_side_px)
            if number in shown:
                pictures.append(small)
            if number in begins or number - 1 in begins:
                encoder.add(small)
            if number - 1 in begins and number not in begins:  # the end of a run of fields
                fields.append(flow_codec.decode(*encoder.finish()))
                encoder = flow_codec.FlowEncoder(settings)
    except flow.SmallFrameError as error:
        raise RefusedVideoError(error.reason) from None
    return {"video": np.stack(pictures), "flow": np.concatenate(fields)}
