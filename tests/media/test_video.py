"""Videos in and out: every frame, its time, its direction and the sound beside it."""

import os
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import forge
import numpy as np
import pytest
from conftest import HANGING, ROOT, run_python
from videos import frame_image, frames_of, labels_of, make_video, sound_of

from sgcp.core.errors import SgcpError
from sgcp.media import video_reader
from sgcp.media.formats import is_video
from sgcp.media.video import VideoTarget, transform_video

TURNS = {  # arguments of set_display_rotation -> what a viewer shows
    (90,): lambda x: np.rot90(x),
    (-90,): lambda x: np.rot90(x, -1),
    (180,): lambda x: np.rot90(x, 2),
    (0, True): lambda x: x[:, ::-1],
    (90, True): lambda x: np.rot90(x)[:, ::-1],
}


def keep(frame):
    """Paint a frame as it is, and its brightness in steps as labels."""
    return {"overlay": frame, "labels": frame[..., 0] // 8}


def transform(source, paint=keep, **options):
    targets = {"overlay": source.parent / "o.mp4", "labels": source.parent / "l.mkv"}
    return transform_video(source, targets, paint, **options)


def refused(source):
    """Expect one message that names the file, and nothing written."""
    before = set(source.parent.iterdir())
    with pytest.raises(SgcpError) as caught:
        transform(source)
    assert str(caught.value).startswith(f"{source}: ")
    assert set(source.parent.iterdir()) == before
    return str(caught.value)


def close(image, other, most=12):
    """Tell whether images differ by no more than H.264 costs."""
    assert image.shape == other.shape
    return np.abs(image.astype(int) - other).mean() < most / 4


IRREGULAR = [0, 512, 1000, 5000, 5100, 20000]


@pytest.mark.parametrize("times", [None, IRREGULAR, [3000 + t for t in IRREGULAR]])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_every_frame_keeps_its_time(tmp_path, times, suffix):
    source = make_video(tmp_path / f"a{suffix}", times=times)
    expected, images = frames_of(source)
    summary = transform(source)
    found, painted = frames_of(tmp_path / "o.mp4")
    assert summary.frames == len(expected)
    assert found == expected
    assert all(map(close, painted, images))
    with av.open(str(source)) as before, av.open(str(tmp_path / "o.mp4")) as after:
        if suffix == ".mp4":  # others do not store how long the last frame is shown
            assert abs(after.duration - before.duration) <= av.time_base / 25
    in_mkv, _ = frames_of(tmp_path / "l.mkv")
    assert max(abs(a - b) for a, b in zip(in_mkv, expected, strict=True)) <= Fraction(1, 2000)


def test_labels_are_lossless(tmp_path):
    source = make_video(tmp_path / "a.mp4", size=(47, 61))
    painted = []

    def paint(frame):
        painted.append(np.random.default_rng(len(painted)).integers(0, 256, frame.shape[:2], "u1"))
        return {"overlay": frame, "labels": painted[-1]}

    transform(source, paint, workers=1)
    assert all((a == b).all() for a, b in zip(labels_of(tmp_path / "l.mkv"), painted, strict=True))


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("a.mp4", "libx264", "aac"), ("a.mov", "libx264", "pcm_s16le"),
        ("a.mkv", "libx264", "libopus"), ("a.webm", "libvpx-vp9", "libopus"),
        ("a.avi", "mpeg4", "libmp3lame"),
    ],
)  # fmt: skip
def test_sound_is_kept_byte_for_byte(tmp_path, name, codec, sound):
    source = make_video(tmp_path / name, 30, codec=codec, sound=sound, ticks=25)
    expected = sound_of(source)
    assert transform(source).left_out == ()
    assert len(expected) > 10
    assert sound_of(tmp_path / "o.mp4") == expected
    with av.open(str(tmp_path / "l.mkv")) as labels:
        assert not labels.streams.audio


def test_sound_that_mp4_cannot_hold_is_named(tmp_path):
    source = make_video(tmp_path / "a.avi", codec="mpeg4", ticks=25, sound="adpcm_ms")
    assert transform(source).left_out == ("sound 1 (adpcm_ms), which MP4 cannot hold",)
    assert len(frames_of(tmp_path / "o.mp4")[0]) == 12


@pytest.mark.parametrize("turn", TURNS)
def test_rotated_videos_are_read_and_written_upright(tmp_path, turn):
    source = make_video(tmp_path / "a.mp4", rotation=turn, aspect=Fraction(4, 3))
    seen = []
    transform(source, lambda frame: seen.append(frame) or keep(frame), workers=1)
    expected = [TURNS[turn](frame_image(number)) for number in range(12)]
    assert all(map(close, seen, expected))
    _, written = frames_of(tmp_path / "o.mp4")
    assert all(map(close, written, expected))
    with av.open(str(tmp_path / "o.mp4")) as container:
        lying = abs(turn[0]) == 90
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3) ** (-1) ** lying
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize("size", [(47, 61), (47, 64), (2, 3), (1, 1)])
def test_odd_sizes_are_padded_by_their_edge(tmp_path, size):
    source = make_video(tmp_path / "a.mkv", 3, size, codec="ffv1")
    summary = transform(source)
    height, width = size
    _, (image, *_) = frames_of(tmp_path / "o.mp4")
    assert summary.size == size
    assert image.shape == (height + height % 2, width + width % 2, 3)
    corner = image[height - 1 :, width - 1 :].astype(int)  # with what is added to it
    assert np.ptp(corner, axis=(0, 1)).max() <= 12
    assert labels_of(tmp_path / "l.mkv")[0].shape == size


def test_colours_survive(tmp_path):
    """Red stays red for players that read the colour space of the file."""
    source = make_video(tmp_path / "a.mp4", 3, (600, 64))
    red = np.full((600, 64, 3), (220, 20, 60), np.uint8)
    transform_video(source, {"x": tmp_path / "o.mp4"}, lambda _: {"x": red})
    _, (image, *_) = frames_of(tmp_path / "o.mp4")
    assert np.abs(image.astype(int) - red).max() <= 4
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace == video_reader.BT709


@pytest.mark.parametrize(("height", "red_in_grey"), [(576, 0.299), (580, 0.2126)])
def test_colours_without_a_standard_are_of_that_of_their_height(tmp_path, height, red_in_grey):
    """As players have it: BT.601 up to 576 lines, BT.709 above."""
    planes = [np.full((height, 64), 110), np.full((height // 4, 64), 110),
              np.full((height // 4, 64), 180)]  # fmt: skip
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.concatenate(planes).astype(np.uint8), "yuv420p")
        for one in (frame, None):
            container.mux(stream.encode(one))
    with video_reader.open_video(tmp_path / "a.mp4") as video:
        (frame,) = video.frames()
        seen = video.upright(frame, (1, 0, 0, 1))
    red = (110 - 16) * 255 / 219 + 2 * (1 - red_in_grey) * (180 - 128) * 255 / 224
    assert abs(seen[5, 5, 0] - red) <= 3


def test_frames_stay_in_order_on_several_threads(tmp_path):
    source = make_video(tmp_path / "a.mp4", 30)
    lock, order = threading.Lock(), iter(range(30))

    def paint(frame):
        with lock:
            number = next(order)
        time.sleep(0.02 * (number % 3 == 0))
        return keep(frame)

    counted = []
    transform(source, paint, workers=4, progress=lambda *counts: counted.append(counts))
    assert counted == [(number, 30) for number in range(1, 31)]
    _, images = frames_of(source)
    labels = labels_of(tmp_path / "l.mkv")
    assert all((a == b[..., 0] // 8).all() for a, b in zip(labels, images, strict=True))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_truncated_video_is_refused_and_nothing_written(tmp_path, name, codec, options):
    source = make_video(tmp_path / name, 60, codec=codec, options=options, ticks=25)
    content = source.read_bytes()
    for share in (0.3, 0.6):
        source.write_bytes(content[: int(len(content) * share)])
        assert "get it again" in refused(source)


def only_sound(path):
    with av.open(str(path), "w") as container:
        tone = container.add_stream("aac", rate=48000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        samples.sample_rate, samples.pts = 48000, 0
        container.mux([*tone.encode(samples), *tone.encode(None)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"hello\n" * 500), "not a video in MP4"),
        (lambda path: path.write_bytes(b""), "not a video in MP4"),
        (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), "not a video"),
        (lambda path: path.write_text("ffconcat version 1.0\nfile other.mp4\n"), "not a video"),
        (lambda path: make_video(path, 0), "video"),
        (only_sound, "no video in it"),
    ],
)
def test_other_files_are_refused(tmp_path, make, message):
    make_video(tmp_path / "other.mp4")
    make(tmp_path / "a.mp4")
    assert message in refused(tmp_path / "a.mp4")


def test_huge_frames_are_refused(tmp_path):
    path = make_video(tmp_path / "a.mp4")
    with pytest.raises(SgcpError, match="frames of 64x48, and at most 1,000 pixels are read"):
        transform_video(path, {}, list, limits=video_reader.VideoLimits(pixels=1000))


@pytest.mark.parametrize("name", ["http:a.mp4", "%d.mp4", "concat:b|c.mp4", "\udcff.mp4", "-.mp4"])
def test_a_name_is_never_an_address_or_a_pattern(tmp_path, name, monkeypatch):
    make_video(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").replace(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert transform(Path(name)).frames == 12


def test_an_error_while_painting_keeps_the_earlier_file(tmp_path):
    source = make_video(tmp_path / "a.mp4")
    (tmp_path / "o.mp4").write_bytes(b"of another time")
    calls = []

    def paint(frame):
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return keep(frame)

    with pytest.raises(KeyboardInterrupt):
        transform(source, paint)
    assert (tmp_path / "o.mp4").read_bytes() == b"of another time"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "o.mp4"]


def test_an_error_of_ffmpeg_names_the_target(tmp_path, monkeypatch):
    def refuse(*_):
        raise av.error.ArgumentError(22, "times run backwards")

    monkeypatch.setattr(VideoTarget, "keep", refuse)
    source = make_video(tmp_path / "a.mp4", sound="aac")
    with pytest.raises(SgcpError, match=r"o\.mp4: FFmpeg cannot write it \(times run backwards\)"):
        transform(source)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_another_shape_or_suffix_is_refused(tmp_path):
    source = make_video(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="painted"):
        transform(source, lambda frame: {"overlay": frame[:10], "labels": frame[..., 0]})
    with pytest.raises(SgcpError, match=r"videos are written as \.mp4"):
        transform_video(source, {"x": tmp_path / "x.avi"}, lambda frame: {"x": frame})


FULL_DISK = """
import resource
from pathlib import Path
from sgcp.core.errors import explain_os_error
from sgcp.media.video import transform_video
folder, said = Path(FOLDER), set()
def run(path):
    paint = lambda frame: {"x": frame if path.suffix == ".mp4" else frame[..., 0]}
    transform_video(folder / "a.mp4", {"x": path}, paint)
for path in (folder / "o.mp4", folder / "l.mkv"):
    run(path)
    size = path.stat().st_size
    path.unlink()
    for limit in range(0, size, size // 30):  # in the header, in frames, in the index
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            run(path)
        except OSError as error:
            said.add(explain_os_error(error).partition(";")[0])
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print(*sorted(said), sep="\\n")
print(sorted(path.name for path in folder.iterdir()))
"""


def test_a_full_disk_is_an_os_error_that_names_the_file(tmp_path, capfd):
    make_video(tmp_path / "a.mp4", 60, sound="aac")
    said = run_python(FULL_DISK.replace("FOLDER", repr(str(tmp_path))))
    assert said.splitlines() == [
        *(f"{tmp_path / name}: File too large" for name in ("l.mkv", "o.mp4")),
        "['a.mp4']",
    ]
    assert capfd.readouterr().err == ""


SLOW = """
import sys, time
from pathlib import Path
from sgcp.media.video import transform_video
def paint(frame):
    time.sleep(0.05)
    return {"x": frame}
def progress(done, total):
    print(done, flush=True)
transform_video(Path(sys.argv[1]), {"x": Path(sys.argv[2])}, paint, 2, progress)
"""


def test_killed_midway_there_is_no_file_of_the_final_name(tmp_path):
    source, target = make_video(tmp_path / "a.mp4", 60), tmp_path / "o.mp4"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, source, target],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    while process.stdout.readline().strip() != b"10":
        pass
    process.kill()
    assert process.wait(HANGING) != 0
    assert not target.exists()
    transform_video(source, {"x": target}, lambda frame: {"x": frame})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "o.mp4"]


PEAK = """
import resource
from pathlib import Path
from sgcp.media.video import transform_video
folder = Path(FOLDER)
targets = {"x": folder / "o.mp4", "l": folder / "l.mkv"}
transform_video(folder / "a.mp4", targets, lambda f: {"x": f, "l": f[..., 0]})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_length(tmp_path):
    """Each 100 frames of 240 x 320 are 23 MB as RGB; how many wait in buffers varies with load."""
    peaks = []
    for frames in (60, 560):
        make_video(tmp_path / "a.mp4", frames, (240, 320), sound="aac")
        peaks.append(int(run_python(PEAK.replace("FOLDER", repr(str(tmp_path))))))
    assert peaks[1] - peaks[0] < 50, peaks


def test_frames_keep_the_size_of_the_first(tmp_path):
    """A frame whose size changes midway is seen at the size of the first."""
    parts = [make_video(tmp_path / f"{h}.ts", 5, (h, 64)) for h in (48, 96)]
    source = tmp_path / "a.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    sizes = []
    transform(source, lambda frame: sizes.append(frame.shape[:2]) or keep(frame))
    assert set(sizes) == {(48, 64)}


@pytest.mark.parametrize(
    ("content", "names", "video"),
    [
        ("image", ("a.png", "a.mp4", "a"), False), ("video", ("a.mp4", "a.PNG", "a"), True),
        ("huge", ("a.png", "a"), False),
        ("half", ("a.png",), False), ("half", ("a.mov",), True),  # damaged: by its name
    ],
)  # fmt: skip
def test_videos_are_recognized_by_content_then_by_name(tmp_path, content, names, video):
    contents = {
        "image": forge.png((8, 8)),
        "video": make_video(tmp_path / "made.mp4").read_bytes(),
        "half": forge.png((8, 8))[:6],
        "huge": forge.png((30000, 30000), rows=b""),
    }
    for name in names:
        (tmp_path / name).write_bytes(contents[content])
        assert is_video(tmp_path / name) == video
