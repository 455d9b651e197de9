"""Three hundred video files, most of them damaged in some way; always the same for a seed.

Their frames carry their numbers in their grey level, see `conftest.frame_array`.
"""

import dataclasses

import numpy as np

NUM_FRAMES = 24
# Small videos in the usual containers and codecs.
BASES = {
    "h264.mp4": {"codec": "libx264", "gop": 6, "options": {"bf": "2"}},
    "h264-fast.mp4": {"codec": "libx264", "container_options": {"movflags": "faststart"}},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "1"}},
    "mjpeg.avi": {"codec": "mjpeg", "options": {"strict": "unofficial", "qmin": "2", "qmax": "2"}},
    "h264.mkv": {"codec": "libx264"},
    "mpeg4.mkv": {"codec": "mpeg4"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
      name: of the file; what was done to it comes first.
      is_whole: nothing is missing: it must be accepted, with all of its frames.
      num_frames: that the file had before it was damaged.
      bits_changed: damage that a decoder may not notice: pictures may be wrong, too. A file
        without its head may begin in the middle of one.
    """

    name: str
    is_whole: bool = False
    num_frames: int = NUM_FRAMES
    bits_changed: bool = False


def _piece(rng, data, largest=2000):
    size = int(rng.integers(1, min(largest, len(data) // 4)))
    start = int(rng.integers(0, len(data) - size))
    return slice(start, start + size)


def cut(rng, data):
    return data[: int(rng.integers(1, len(data)))]


def cut_tail(rng, data):
    return data[: len(data) - int(rng.integers(1, 200))]


def cut_head(rng, data):
    return data[int(rng.integers(1, len(data))) :]


def flip_bits(rng, data):
    out = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, out.size, int(rng.integers(1, 30)))
    out[places] ^= (1 << rng.integers(0, 8, places.size)).astype(np.uint8)
    return out.tobytes()


def flip_header(rng, data):
    head = flip_bits(rng, data[:600])
    return head + data[600:]


def flip_tail(rng, data):
    return data[:-600] + flip_bits(rng, data[-600:])


def zero_piece(rng, data):
    piece = _piece(rng, data)
    return data[: piece.start] + bytes(piece.stop - piece.start) + data[piece.stop :]


def drop_piece(rng, data):
    piece = _piece(rng, data)
    return data[: piece.start] + data[piece.stop :]


def repeat_piece(rng, data):
    piece = _piece(rng, data)
    return data[: piece.stop] + data[piece] + data[piece.stop :]


def swap_pieces(rng, data):
    size = int(rng.integers(1, len(data) // 4))
    a, b = sorted(int(i) for i in rng.integers(0, len(data) - size, 2))
    b = max(b, min(a + size, len(data) - size))
    middle = data[a + size : b] if b > a + size else b""
    return data[:a] + data[b : b + size] + middle + data[a : a + size] + data[b + size :]


def insert_noise(rng, data):
    place = int(rng.integers(0, len(data)))
    return data[:place] + rng.bytes(int(rng.integers(1, 3000))) + data[place:]


def append_noise(rng, data):
    return data + rng.bytes(int(rng.integers(1, 3000)))


def append_itself(rng, data):
    return data + data


DAMAGES = (
    cut, cut_tail, cut_head, flip_bits, flip_header, flip_tail, zero_piece, drop_piece,
    repeat_piece, swap_pieces, insert_noise, append_noise, append_itself,
)  # fmt: skip
_KEEP_PICTURES = (cut, cut_tail, append_noise, append_itself)


def write(folder, write_video, count=300, seed=0):
    """Writes `count` files into a folder.

    Args:
      folder: a path.
      write_video: `conftest.write_video`.
      count: at least as many as there are whole and hopeless ones.
      seed: of the damage.

    Returns:
      list of `Case`, one per file.
    """
    sources = folder.parent / "sources"
    bases = {
        name: write_video(sources / name, NUM_FRAMES, tint=i, **kwargs).read_bytes()
        for i, (name, kwargs) in enumerate(BASES.items())
    }
    folder.mkdir()
    cases = [*_whole(folder, write_video, bases), *_hopeless(folder, bases)]
    rng = np.random.default_rng(seed)
    kinds = [(damage, name) for damage in DAMAGES for name in bases]
    for number in range(count - len(cases)):
        damage, base = kinds[number % len(kinds)]
        name = f"{damage.__name__}-{number:03d}-{base}"
        (folder / name).write_bytes(damage(rng, bases[base]))
        cases.append(Case(name, bits_changed=damage not in _KEEP_PICTURES))
    return cases


def _whole(folder, write_video, bases):
    for name, data in bases.items():
        (folder / f"whole-{name}").write_bytes(data)
        yield Case(f"whole-{name}", is_whole=True)
        wrong = f"wrong_name-{name}" + (".mkv" if name.endswith("mp4") else ".mp4")
        (folder / wrong).write_bytes(data)
        yield Case(wrong, is_whole=True)
    times_ms = np.cumsum([0, *([33, 80] * 12)])[:NUM_FRAMES]
    special = {
        "odd-65x49.mp4": {"width": 65, "height": 49},
        "odd-17x33.avi": {"width": 17, "height": 33},
        "odd-vp9.webm": BASES["vp9.webm"] | {"width": 63, "height": 47},
        "rotated.mp4": {"rotation": 90},
        "rotated-h264.mp4": {"codec": "libx264", "rotation": 90},
        "variable_rate.mkv": {"times_ms": times_ms},
        "variable_rate-vp9.webm": BASES["vp9.webm"] | {"times_ms": times_ms},
        "two_frames.mp4": {"num_frames": 2},
        "long.avi": {"num_frames": 3600, "width": 16, "height": 16, "gop": 100},
    }
    for name, kwargs in special.items():
        write_video(folder / name, **{"num_frames": NUM_FRAMES, **kwargs})
        yield Case(name, is_whole=True, num_frames=kwargs.get("num_frames", NUM_FRAMES))


def _hopeless(folder, bases):
    """Files that hold no whole video whatever is done."""
    text = b"<!DOCTYPE html><title>This video is not available in your country</title>" * 40
    rng = np.random.default_rng(1)
    contents = {
        "empty.mp4": b"",
        "one_byte.mkv": b"\0",
        "zeros.avi": bytes(10_000),
        "text.webm": text,
        "subtitles.mp4": b"1\n00:00:00,000 --> 00:00:04,000\nHello\n\n" * 20,
        "playlist.mp4": b"#EXTM3U\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n",
        "noise.mp4": rng.bytes(20_000),
        "magic_only.webm": bytes.fromhex("1a45dfa3") + rng.bytes(500),
        "magic_only.mp4": bases["h264.mp4"][:24],
        "magic_only.avi": bases["mjpeg.avi"][:12],
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        yield Case(name, num_frames=0)
