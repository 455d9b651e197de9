"""Pictures that move by a known number of pixels, and the flow methods to try on them."""

import av
import cv2
import numpy as np
import pytest

HAS_TVL1 = hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow_create")
needs_tvl1 = pytest.mark.skipif(not HAS_TVL1, reason="OpenCV without contrib: no cv2.optflow")
METHODS = [pytest.param("tvl1", marks=needs_tvl1), "dis"]
SHIFT = (3, -2)  # pixels to the right, and up


def shifted_frames(num_frames=2, height=96, width=128, shift=SHIFT, seed=0):
    """Grey frames of a texture that moves by `shift` from each to the next, uint8 [N,H,W]."""
    margin = 16 * num_frames
    noise = np.random.default_rng(seed).random((height + 2 * margin, width + 2 * margin))
    texture = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return np.stack(
        [
            texture[margin - i * shift[1] :, margin - i * shift[0] :][:height, :width]
            for i in range(num_frames)
        ]
    )


def write_moving(path, num_frames=12, height=96, width=128, shift=SHIFT):
    """A video of a texture that moves by `shift` pixels a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qmin": "2", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for grey in shifted_frames(num_frames, height, width, shift):
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, -1), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", threads=1)))
        container.mux(stream.encode())
