"""Tiny videos of every kind that people have, made on the spot, and what a file holds."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = 12800  # a second, as in most MP4


def frame_image(number, height=48, width=64):
    """A bright block that walks over grey, so that frames and directions can be told apart."""
    image = np.full((height, width, 3), 90, np.uint8)
    left = 4 * number % max(1, width - 12)
    image[2 : height // 3, left : left + 10] = (230, 60, 40)
    return image


def make_video(path, frames=12, size=(48, 64), times=None, sound=None, rotation=None,
               aspect=0, codec="libx264", options=None, ticks=TICKS, longer=0.0):  # fmt: skip
    """Write a video; ``times`` in ``ticks`` a second; else 25 frames.

    Args:
        sound: the name of a codec; a tone as long as the video and ``longer`` seconds.
        rotation: arguments of ``set_display_rotation``.
    """
    height, width = size
    times = times or [number * ticks // 25 for number in range(frames)]
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25, time_base=Fraction(1, ticks))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        if rotation:
            stream.set_display_rotation(*rotation)
        if sound:
            tone = container.add_stream(sound, rate=48000, layout="mono")
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(frame_image(number, height, width), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.start_encoding()  # without frames too
        container.mux(stream.encode(None))
        if sound:
            samples = np.sin(np.arange(int((times[-1] / ticks + 0.04 + longer) * 48000)) / 20)
            packed = (samples * 2**14).astype(np.int16)[None]
            audio = av.AudioFrame.from_ndarray(packed, format="s16", layout="mono")
            audio.sample_rate, audio.pts = 48000, 0
            container.mux(tone.encode(audio))
            container.mux(tone.encode(None))
    return Path(path)


def frames_of(path):
    """Return (times in seconds, images) of a video."""
    with av.open(str(path)) as container:
        found = [(f.pts * f.time_base, f.to_ndarray(format="rgb24"))
                 for f in container.decode(video=0)]  # fmt: skip
    return [time for time, _ in found], [image for _, image in found]


def labels_of(path):
    """Return the label maps of a lossless video."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def sound_of(path):
    """Return (time in seconds, bytes) of every packet of sound."""
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.dts is not None
        ]
