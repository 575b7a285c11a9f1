"""Cameras and streams: the newest frame, reconnects, messages; nothing asked but the address."""

import base64
import re
from contextlib import ExitStack
from itertools import pairwise
from time import sleep

import numpy as np
import pytest
from senders import (
    RATE,
    free_port,
    sending_udp,
    serving_http,
    serving_rtsp,
)
from videos import frames_of, make_video

from sgcp.core.errors import SgcpError
from sgcp.media import streams
from sgcp.media.addresses import Stream, find_stream, parse_stream
from sgcp.media.streams import LiveReader


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.05)
    monkeypatch.setattr(streams, "LOST", 0.0)  # after one attempt that gave no frame


def play(source, seconds=None, lines=None):
    """Return the reader, and (ticks, image) of the frames that it gave."""
    say = lines.append if lines is not None else lambda line: None
    with LiveReader(source if not isinstance(source, str) else Stream(source), say) as reader:
        taken = []
        reader.first()
        for arrival in reader.frames(seconds):
            taken.append((arrival.frame.pts, reader.upright(arrival.frame)))
    return reader, taken


def refused(address):
    with pytest.raises(SgcpError) as caught:
        play(address)
    return str(caught.value)


# --- addresses


@pytest.mark.parametrize(
    ("text", "shown", "stem"),
    [
        ("camera:0", "camera:0", "camera-0"),
        ("Camera:0", "camera:0", "camera-0"),
        ("udp://@:5004", "udp://:5004", "5004"),
        ("rtsp://me:secret@10.0.0.7:8554/a/b", "rtsp://10.0.0.7:8554/a/b", "10.0.0.7-8554-a-b"),
        ("rtsp://me:se@cret@cam/x", "rtsp://cam/x", "cam-x"),
        ("http://cam/snap.cgi?user=me&pwd=secret", "http://cam/snap.cgi", "cam-snap.cgi"),
        ("http://cam/x?secret#secret", "http://cam/x", "cam-x"),
        ("rtsp://cam/user=me_password=secret&x=secret/s", "rtsp://cam/user=...&x=.../s",
         "cam-user-...-x-...-s"),
        ("HTTPS://cam/../../etc/", "https://cam/../../etc/", "cam-..-..-etc"),
    ],
)  # fmt: skip
def test_address_is_shown_and_names_files_without_secrets(text, shown, stem):
    stream = parse_stream(text)
    assert (str(stream), stream.stem) == (shown, stem)
    assert "secret" not in repr(stream)


def test_paths_are_no_streams():
    names = ["a.mp4", "./camera:0", "C:\\x.mp4", "rtsp:/x", "-", "file.with:colon"]
    assert [parse_stream(name) for name in names] == [None] * len(names)
    assert find_stream(names) is None


@pytest.mark.parametrize("text", ["srt://h:1", "file:///etc/passwd", "concat://a", "rtsp://",
                                  "rtsp://[::", "http://h:x/"])  # fmt: skip
def test_other_addresses_are_refused(text):
    with pytest.raises(SgcpError, match="expected"):
        parse_stream(text)


def test_stream_is_played_alone():
    with pytest.raises(SgcpError, match="udp://h:1: a stream is played alone"):
        find_stream(["a.png", "udp://h:1"])


def test_missing_camera_says_which_exist(tmp_path, monkeypatch):
    monkeypatch.setattr(streams.sys, "platform", "linux")
    monkeypatch.setitem(streams.CAMERAS, "linux", ("v4l2", f"{tmp_path}/video{{}}"))
    assert refused("camera:7") == "camera:7: no such camera. This machine has none"
    for name in ("video10", "video2", "video-x"):
        (tmp_path / name).touch()
    assert refused("camera:7").endswith("This machine has camera:2, camera:10")
    assert refused("camera:../x").startswith("camera:../x: no such camera")
    assert refused("camera:2").startswith("camera:2: cannot be played: ")  # a file is no camera


@pytest.mark.parametrize("text", ["rtsp://me:12/secret@cam/x", "http://me:12#secret@cam/x",
                                  "rtsp://me:s3cr?et@cam"])  # fmt: skip
def test_password_that_ends_its_host_is_refused_without_being_shown(text):
    with pytest.raises(SgcpError, match=r"write / \? # @ as %2F") as caught:
        parse_stream(text)
    assert "12" not in str(caught.value)
    assert "s3cr" not in str(caught.value)
    assert str(Stream(text)) == f"{text.partition(':')[0]}://..."


# --- frames


def test_slow_reader_gets_the_newest_frames_and_the_others_are_counted():
    with serving_http() as (address, server), LiveReader(Stream(f"{address}/120"), print) as reader:
        reader.first()
        before = reader.received
        taken = [arrival.at for arrival in reader.frames(1.5) if not sleep(0.3)]
        counted = reader.received - before
        assert reader.dropped > 2
        assert abs(counted - reader.dropped - len(taken)) <= 2  # one may wait, one be coming
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["udp", "http", "mjpeg", "rtsp"])
def test_streams_of_every_kind_are_played(kind):
    if kind == "rtsp":
        with serving_rtsp(90) as address:
            _, taken = play(address, 0.5)
    elif kind == "udp":
        with sending_udp(free_port()) as address:
            _, taken = play(address, 0.5)
    else:
        with serving_http() as (address, _):
            _, taken = play(f"{address}/{'mjpeg' if kind == 'mjpeg' else 90}", 0.5)
    ticks, images = zip(*taken, strict=True)
    assert ticks[0] == 0
    assert all(a < b for a, b in pairwise(ticks))
    assert images[0].shape == (48, 64, 3)
    assert (images[0].max(0).max(0) > 150).any()  # the red block


def test_password_of_rtsp_is_sent():
    right = base64.b64encode(b"me:secret").decode()
    with serving_rtsp(90, right) as address:
        text = refused(address)
        assert "401 Unauthorized" in text
        assert "Write user and password: rtsp://USER:PASSWORD@HOST/PATH" in text
        assert play(address.replace("://", "://me:secret@"), 0.2)[1]


def test_broken_stream_is_opened_again_with_a_line_and_keeps_its_size(monkeypatch):
    sizes = [(48, 64), (96, 64), (40, 40)]
    monkeypatch.setattr(streams, "LOST", 60.0)
    lines = []
    with (
        serving_http(sizes=sizes) as (address, server),
        LiveReader(Stream(f"{address}/20"), lines.append) as reader,
    ):
        taken = []
        for arrival in reader.frames():
            taken.append((arrival.frame.pts, reader.upright(arrival.frame).shape))
            if len(server.asked) >= 3:
                break
    assert reader.reconnects >= 2
    assert set(lines) == {f"{address}/20: it ended; opening it again in 0.05 s"}  # none longer
    ticks, shapes = zip(*taken, strict=True)
    assert all(a < b for a, b in pairwise(ticks))
    assert set(shapes) == {(48, 64, 3)}


def test_silence_grows_while_a_stream_is_lost_and_ends_with_its_next_frame(monkeypatch):
    monkeypatch.setattr(streams, "LOST", 60.0)
    monkeypatch.setattr(streams, "PAUSE", 1.0)
    monkeypatch.setattr(streams, "GLANCE", 0.05)
    seen = []
    with (
        serving_http() as (address, _),
        LiveReader(Stream(f"{address}/60"), lambda line: None) as reader,
    ):
        assert (reader.silence(), reader.reconnecting) == (0, False)  # before the first
        for _ in reader.frames(
            waiting=lambda: seen.append((reader.silence(), reader.reconnecting))
        ):
            if any(reconnecting for _, reconnecting in seen):
                break
        assert not reader.reconnecting
        assert reader.silence() < 0.5
    lost = [silence for silence, reconnecting in seen if reconnecting]
    assert lost == sorted(lost)
    assert lost[-1] > 0.8


def test_frame_that_waits_is_no_silence():
    with serving_http() as (address, _), LiveReader(Stream(f"{address}/5"), print) as reader:
        reader.first()
        sleep(0.3)
        assert reader.silence() == 0


def test_pauses_grow_until_a_silent_stream_is_given_up(monkeypatch):
    monkeypatch.setattr(streams, "LOST", 0.8)
    with serving_http() as (address, server):
        lines = []
        with LiveReader(Stream(f"{address}/5"), lines.append) as reader:
            for _ in reader.frames():
                server.shutdown()
                server.server_close()
                break
            with pytest.raises(SgcpError, match=r"lost: no frame for 0.8 seconds \(conn"):
                list(reader.frames())
    pauses = [float(re.search(r"in ([\d.]+) s", line)[1]) for line in lines]
    assert pauses[:3] == [0.05, 0.1, 0.2]


def test_recording_behind_http_is_played_at_its_speed_and_whole(tmp_path):
    video = make_video(tmp_path / "drive.mp4", 12, options={"movflags": "faststart"})
    with serving_http({"drive.mp4": video.read_bytes()}) as (address, _):
        reader, taken = play(f"{address}/drive.mp4")
    assert [tick for tick, _ in taken] == [round(1000 * n / RATE) for n in range(12)]
    assert (reader.received, reader.dropped, reader.reconnects) == (12, 0, 0)
    for (_, image), wanted in zip(taken, frames_of(video)[1], strict=True):
        assert np.abs(image.astype(int) - wanted).mean() < 3


def test_a_recording_whose_sound_is_longer_is_whole(tmp_path):
    video = make_video(tmp_path / "drive.mp4", 12, sound="aac", longer=2.0,
                       options={"movflags": "faststart"})  # fmt: skip
    with serving_http({"drive.mp4": video.read_bytes()}) as (address, _):
        reader, _ = play(f"{address}/drive.mp4")
    assert (reader.received, reader.reconnects) == (12, 0)


def test_a_recording_that_ends_early_is_no_success(tmp_path):
    content = make_video(tmp_path / "drive.mp4", 60, options={"movflags": "faststart"}).read_bytes()
    with serving_http({"drive.mp4": content[: len(content) * 2 // 3]}) as (address, _):
        assert re.search("ends early|cannot be played", refused(f"{address}/drive.mp4"))


def test_file_is_played_whole(tmp_path):
    video = make_video(tmp_path / "drive.mp4", 12, times=[n * n * 300 for n in range(12)])
    reader, taken = play(video)
    assert [tick for tick, _ in taken] == [round(1000 * n * n * 300 / 12800) for n in range(12)]
    assert (reader.received, reader.dropped) == (12, 0)


# --- what cannot be played


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing", "404 Not Found"),
        ("private", "401 Unauthorized"),
        ("garbage", "not a video that is read. Expected MP4, .* are not followed"),
        ("0", "."),  # no frames
        ("list.m3u8", "are not followed"),
        ("elsewhere", "cannot be played"),  # redirects to a file
    ],
)
def test_what_is_no_stream_is_one_message_and_no_other_address_is_asked(tmp_path, path, problem):
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/a.ts\n#EXT-X-ENDLIST\n"
    segment = make_video(tmp_path / "a.ts", 25).read_bytes()
    with serving_http({"list.m3u8": playlist, "a.ts": segment}) as (address, server):
        text = refused(f"{address.replace('://', '://me:secret@')}/{path}?secret")
        assert {asked.partition("?")[0] for asked in server.asked} == {f"/{path}"}
    assert re.search(problem, text)
    assert text.startswith(f"{address}/{path}: ")
    assert "secret" not in text


def test_source_that_does_not_answer_ends_in_time(monkeypatch):
    monkeypatch.setattr(streams, "PATIENCE", 0.3)
    assert "no answer for 0.3 seconds" in refused(f"udp://127.0.0.1:{free_port()}")
    assert "connection refused" in refused(f"rtsp://me:secret@127.0.0.1:{free_port()}/x")
    with serving_http() as (address, _):
        assert "no answer for 0.3 seconds" in refused(f"{address}/silent")


def test_silent_stream_is_broken(monkeypatch):
    monkeypatch.setattr(streams, "PATIENCE", 1.5)
    with ExitStack() as sending:
        address = sending.enter_context(sending_udp(free_port()))
        with LiveReader(Stream(address), lambda line: None) as reader:
            reader.first()
            sending.close()
            with pytest.raises(SgcpError, match=r"lost: .* \(no answer for 1.5 seconds\)"):
                list(reader.frames())
