"""Senders of streams on the loopback: MPEG-TS over UDP and HTTP, MJPEG over HTTP, and RTSP."""

import io
import socket
import threading
import time
from contextlib import contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
from videos import frame_image

RATE = 25
ANSWERS = {"DESCRIBE": "Content-Type: application/sdp\r\n",
           "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
           "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n"}  # fmt: skip
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n"
)


def send(target, container, frames, size=(48, 64), stop=None, **options):
    """Encode so many frames to an address or object with ``write``, at the speed of a camera."""
    height, width = size
    with av.open(target, "w", format=container, **options) as output:
        stream = output.add_stream(
            "libx264", rate=RATE, options={"tune": "zerolatency", "g": "5", "preset": "ultrafast"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        begin = time.monotonic()
        for number in range(frames):
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            if stop and stop.is_set():
                break
            frame = av.VideoFrame.from_ndarray(frame_image(number, height, width), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def sending_udp(port):
    """Send over UDP until the end of the block, whether or not someone receives it."""
    stop = threading.Event()
    arguments = (f"udp://127.0.0.1:{port}?pkt_size=1316", "mpegts", 10**6)
    thread = threading.Thread(target=send, args=arguments, kwargs={"stop": stop}, daemon=True)
    thread.start()
    try:
        yield f"udp://127.0.0.1:{port}"
    finally:
        stop.set()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """``/N`` sends N frames; ``/N/HxW`` of that size; other paths are what their name says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        path = self.path.partition("?")[0].strip("/")
        if path == "missing":
            return self.send_error(404)
        if path == "private":
            return self.send_error(401)
        self.send_response(302 if path == "elsewhere" else 200)
        if path == "elsewhere":
            self.send_header("Location", "file:///etc/passwd")
        if path == "mjpeg":
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=ffmpeg")
        content = server.files.get(path)
        if content:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError, av.FFmpegError):  # the receiver is gone
            if content:
                self.wfile.write(content)
            elif path == "silent":
                server.closing.wait(60)
            elif path == "mjpeg":
                self.write(jpeg_stream(40))
                server.closing.wait(60)
            elif path == "garbage":
                self.write(bytes(range(1, 256)) * 4000)
                self.wfile.write(b"0\r\n\r\n")
            elif path.partition("/")[0].isdecimal():
                frames, _, size = path.partition("/")
                shape = tuple(map(int, size.split("x"))) if size else (48, 64)
                # A stream that breaks begins anew, and the next one may be another.
                send(self, "mpegts", int(frames), server.sizes.pop(0) if server.sizes else shape)
                self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True
        return None

    def write(self, content):
        """Send a chunk."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        return len(content)

    def log_message(self, *_):
        pass


@contextmanager
def serving_http(files=None, sizes=()):
    """Serve streams over HTTP; yields the address and the server, whose ``asked`` lists paths."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.asked, server.closing, server.sizes = [], threading.Event(), list(sizes)
        server.files = files or {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server
        finally:
            server.closing.set()
            server.shutdown()


class Interleaved:
    """Packets of RTP in an RTSP connection."""

    def __init__(self, connection):
        self.connection = connection

    def write(self, packet):
        packet = bytes(packet)
        channel = 0 if packet[1] & 0x7F == 96 else 1  # else RTCP
        self.connection.sendall(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)
        return len(packet)


@contextmanager
def serving_rtsp(frames, password=None):
    """Serve H.264 over RTSP within its connection, to one client after another."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                with server.accept()[0] as connection, suppress(OSError, av.FFmpegError):
                    answer(connection)

    def answer(connection):
        lines = connection.makefile("rb")
        while request := [*iter(lambda: lines.readline().decode().strip(), "")]:
            method = request[0].split()[0]
            head = {
                key.lower(): value for key, _, value in (line.partition(": ") for line in request)
            }
            refused = password and password not in head.get("authorization", "")
            status = "401 Unauthorized" if refused else "200 OK"
            body = SDP if method == "DESCRIBE" and not refused else ""
            extra = 'WWW-Authenticate: Basic realm="x"\r\n' if refused else ANSWERS.get(method, "")
            connection.sendall(
                f"RTSP/1.0 {status}\r\nCSeq: {head['cseq']}\r\n{extra}"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if method == "PLAY":
                send(Interleaved(connection), "rtp", frames, options={"packetsize": "1200"})
                return

    threading.Thread(target=serve, daemon=True).start()
    with server:
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/street"


def jpeg_stream(frames):
    """Return a body of multipart MJPEG."""
    body = io.BytesIO()
    with av.open(body, "w", format="mpjpeg") as output:
        stream = output.add_stream("mjpeg", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(frame_image(number), "rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return body.getvalue()
