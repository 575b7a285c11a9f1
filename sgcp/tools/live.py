"""``sgcp segment`` of cameras, streams and ``--live``: labels of the newest frame, recorded."""

import glob
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from sgcp.core.errors import SgcpError, printable, shorten
from sgcp.core.terminal import answer, progress_bar, say, warn
from sgcp.inference.segmenter import choose_device, load
from sgcp.inference.smoothing import Smoother
from sgcp.media.addresses import Stream
from sgcp.media.formats import is_video
from sgcp.media.images import UInt8
from sgcp.media.streams import Arrival, LiveReader
from sgcp.media.video import writing
from sgcp.tools.live_page import LivePage
from sgcp.tools.segment_outputs import (
    CLASSES,
    FILES_ALONE,
    Labeller,
    Painted,
    SegmentOptions,
    render,
    write_classes,
)

LATEST = 10_000  # frames whose latency is kept: an hour and more at 2 frames/s, minutes at 30
RECENT = 2.0  # seconds of which the current rate is; it is shown as long after the last frame


class Statistics:
    """Rate and latency of the frames that were labelled, and how many were dropped."""

    def __init__(self) -> None:
        self.started, self.frames, self.dropped = perf_counter(), 0, 0
        self.latencies: deque[float] = deque(maxlen=LATEST)
        self.times = deque([self.started])

    def add(self, arrived: float, dropped: int) -> None:
        """Count a frame that is labelled now; ``dropped``: how many were dropped so far."""
        now = perf_counter()
        self.frames, self.dropped = self.frames + 1, dropped
        self.latencies.append(now - arrived)
        self.times.append(now)
        while self.times[0] < now - RECENT and len(self.times) > 2:
            self.times.popleft()

    def __str__(self) -> str:
        current = self.now()
        return (
            f"{current['frames_per_second']:.1f} frames/s, {self.dropped:,} dropped, "
            f"latency {current['latency_ms'] or 0:.0f} ms"
        )

    def now(self) -> dict[str, Any]:
        """Return rate and latency of late, for the page."""
        steps, seconds = len(self.times) - 1, self.times[-1] - self.times[0]
        return {
            "frames": self.frames,
            "frames_per_second": round(steps / max(seconds, 1e-9), 1),
            "latency_ms": self._latency(50, steps),
            "dropped": self.dropped,
        }

    def summary(self) -> dict[str, Any]:
        """Return the counts of the whole run, and latencies of the last ``LATEST`` frames."""
        seconds = perf_counter() - self.started
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "seconds": round(seconds, 3),
            "frames_per_second": round(self.frames / seconds, 1),
            "latency_ms": {"p50": self._latency(50, LATEST), "p95": self._latency(95, LATEST)},
        }

    def _latency(self, percentile: int, frames: int) -> float | None:
        """Return a percentile over the last frames, in milliseconds; None if there is none."""
        latest = list(self.latencies)[-frames:] if frames else []
        return round(1000 * float(np.percentile(latest, percentile)), 1) if latest else None


def segment_live(
    source: Stream | Path,
    model: str,
    out: Path,
    options: SegmentOptions,
    force: bool,
    accelerator: str,
    max_seconds: float | None,
    port: int | None,
) -> dict[str, Any]:
    """Label the newest frame of a stream again and again; record the outputs in ``out``.

    Frames that arrive while one is labelled are dropped but for the newest. The recordings are
    complete at the end of the stream, after ``max_seconds``, on Ctrl-C and on SIGTERM; a second
    signal ends the process at once.

    Args:
        source: a stream; or a video, played at its own speed without dropping frames.
        model: as ``sgcp.load`` takes it.
        max_seconds: end after this time; None: with the stream, or on Ctrl-C.
        port: serve the overlay there on localhost, 0: on a free port; None: it is only recorded.

    Returns:
        For JSON: ``frames``, ``dropped``, ``reconnects``, ``seconds``, ``latency_ms`` from a
        decoded frame to its labels, the ``files``, ``engine`` and ``precision``.

    Raises:
        SgcpError: the stream cannot be played or is lost, no model, no output, or an option out
            of range.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the recordings are complete.
    """
    options.check()
    if max_seconds is not None and not 0 < max_seconds < float("inf"):
        raise SgcpError(f"--max-seconds: expected more than 0, got {max_seconds}")
    if port is not None and not 0 <= port <= 65535:
        raise SgcpError(f"--port: expected 0 .. 65535, got {port}")
    if options.form:
        raise SgcpError(FILES_ALONE)
    targets = options.paths(_name(source, out), video=True)
    if not targets and port is None:
        raise SgcpError(f"{source}: no output selected. Leave --labels, --colors or --overlay on")
    if existing := [path for path in targets.values() if path.exists() and not force]:
        raise SgcpError(f"{existing[0]}: exists. Pass --force to overwrite it, or another --out")
    segmenter = load(model, choose_device(accelerator))
    labeller = Labeller(segmenter, options)
    if "labels" in targets:
        write_classes(out / CLASSES, segmenter, force)
    smoother = Smoother(options.smooth)

    def label(image: UInt8) -> Painted:
        smoothed = smoother(image, labeller.predict(image)) if options.smooth else None
        return labeller.label(image, smoothed)

    ended: BaseException | None = None
    with ExitStack() as stack:
        main_thread = threading.current_thread() is threading.main_thread()
        if main_thread:
            stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        page, reader = None, LiveReader(source, warn)
        if port is not None:
            page = LivePage(_title(source), segmenter.classes, port, lambda: _silence(reader))
            stack.enter_context(page)
            answer(f"{page.address} shows {_title(source)}; Ctrl-C ends it")
        stack.enter_context(reader)
        # The engine compiles its graph for the size.
        first = reader.upright(reader.first().frame)
        segmenter.segment(first, options.input_size, options.inference)
        opened = stack.enter_context(writing(targets, reader.form, live=True))
        statistics = Statistics()

        def write(arrival: Arrival, image: UInt8, made: Painted) -> None:
            kinds = {*targets, "overlay"} if page else targets
            painted = made | render(image, made["labels"], segmenter, kinds, options.alpha)
            for kind, target in opened.items():
                target.encode(target.prepare(painted[kind], arrival.frame))
            if page:
                page.show(painted["overlay"], statistics.now())

        try:
            _label_frames(reader, max_seconds, label, write, statistics)
        except (KeyboardInterrupt, SgcpError) as error:
            ended = error
            if main_thread:  # Ctrl-C now ends the process: recordings stay as they are, playable
                signal.signal(signal.SIGINT, signal.SIG_DFL)
    result = statistics.summary() | {
        "source": source.as_posix() if isinstance(source, Path) else str(source),
        "reconnects": reader.reconnects,
        "files": [path.as_posix() for path in targets.values()],
        "engine": segmenter.engine.name,
        "precision": segmenter.engine.precision,
    }
    _print(result, segmenter.engine.way)
    if ended:
        raise ended
    return result


def _label_frames(
    reader: LiveReader,
    seconds: float | None,
    label: Callable[[UInt8], Painted],
    write: Callable[[Arrival, UInt8, Painted], None],
    statistics: Statistics,
) -> None:
    """Label frames one by one, each while the one before is written."""
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as pool, progress_bar() as bar:
        task = bar.add_task(_title(reader.source), total=None)

        def show(state: str) -> None:
            description = f"{_title(reader.source)}: {state}"
            bar.update(task, completed=statistics.frames, description=description)

        def waiting() -> None:
            silence = _silence(reader)
            if silence["seconds_since_frame"] > RECENT:
                lost = ", reconnecting" if silence["reconnecting"] else ""
                show(f"no frame for {silence['seconds_since_frame']:.0f} s{lost}")

        try:
            for arrival in reader.frames(seconds, waiting):
                image = reader.upright(arrival.frame)
                made = label(image)
                statistics.add(arrival.at, reader.dropped)
                if written:
                    written.result()
                written = pool.submit(write, arrival, image, made)
                show(str(statistics))
        finally:
            if written:
                written.result()


def _silence(reader: LiveReader) -> dict[str, Any]:
    """Return for how long there has been no frame, and whether the stream is opened again."""
    seconds = round(reader.silence(), 1)
    return {"seconds_since_frame": seconds, "reconnecting": reader.reconnecting}


def find_source(paths: Sequence[str]) -> Path:
    """Return the video that ``--live`` plays; raise SgcpError if it is not one video."""
    if len(paths) != 1 or not (path := Path(paths[0])).is_file() or not is_video(path):
        raise SgcpError("--live: expected one camera, stream or video file")
    return path


def _name(source: Stream | Path, out: Path) -> Path:
    """Return the path without suffix of the outputs: of a stream with the time, always new."""
    if isinstance(source, Path):
        return out / source.stem
    stem = f"{source.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    names = chain([stem], (f"{stem}_{number}" for number in count(2)))
    return out / next(name for name in names if not any(out.glob(f"{glob.escape(name)}_*")))


def _title(source: Stream | Path) -> str:
    return printable(source.name if isinstance(source, Path) else source)


def _print(result: Mapping[str, Any], way: str) -> None:
    latency = result["latency_ms"]
    say(
        f"{shorten(result['files']) or result['source']}: "
        f"{result['frames']:,} frames in {result['seconds']:.1f} s "
        f"({result['frames_per_second']} frames/s), {result['dropped']:,} dropped, latency "
        f"{latency['p50']} ms, p95 {latency['p95']} ms ({way})"
    )
