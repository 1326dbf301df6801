"""What RFC 9113 (HTTP/2) and RFC 7541 (HPACK) ask of a server, case by case: frames are sent as bytes, and
the answer has to be the error, or the response, that the section names.

usage: http2.py PORT, where HTTP/2 is spoken without TLS; prints a line for each case
"""

import socket
import struct
import sys

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
ERRORS = [
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Nothing comes so late, in seconds.
PATIENCE = 10


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without indexing, with names and values under 127 bytes (RFC 7541, 6.2.2)."""
    name, value = name.encode(), value.encode()
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def block(*more, method="GET", path="/", scheme="http", authority="test", without=()):
    pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    fields = [field for field in pseudo if field[0] not in without] + list(more)
    return b"".join(literal(*field) for field in fields)


def setting(number, value):
    return struct.pack(">HI", number, value)


def get(stream, fields=None, flags=END_STREAM | END_HEADERS):
    return frame(HEADERS, flags, stream, block() if fields is None else fields)


def post(stream, *more):
    return get(stream, block(*more, method="POST"), END_HEADERS)


class Client:
    def __init__(self, port, settings=b"", preface=PREFACE):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.left = b""
        self.send(preface + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            # What the server says about it is read below.
            pass

    def take(self, count):
        while len(self.left) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.left += data
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def frames(self):
        """All that come, until the connection ends."""
        try:
            while True:
                head = self.take(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
                payload = self.take(length)
                if kind == SETTINGS and not flags & ACK:
                    self.send(frame(SETTINGS, ACK, 0))
                yield kind, flags, stream, payload
        except (EOFError, ConnectionError):
            return

    def outcome(self, stream=1):
        """What has come of it: the answer, an error of the stream or the connection, or its end."""
        status = ""
        try:
            for kind, flags, number, payload in self.frames():
                if kind == GOAWAY:
                    code = ERRORS[int.from_bytes(payload[4:8], "big")]
                    if code != "NO_ERROR":
                        return f"connection {code}"
                if kind == RST and number == stream:
                    code = ERRORS[int.from_bytes(payload[:4], "big")]
                    # The answer came before the end of the request.
                    return f"stream {code}" if code != "NO_ERROR" or not status else status
                if kind == HEADERS and number == stream and not status:
                    status = status_of(payload)
                if kind in (HEADERS, DATA) and number == stream and flags & END_STREAM:
                    return status
        except TimeoutError:
            return "nothing"
        return "closed"


def status_of(payload):
    """Servers say it first, from the table (RFC 7541, appendix A)."""
    known = {0x88: "200", 0x89: "204", 0x8A: "206", 0x8B: "304", 0x8C: "400", 0x8D: "404", 0x8E: "500"}
    return "answer " + known.get(payload[0], "other")


CASES = []


def case(section, about, *expected, stream=1, **client):
    """Registers one: a function that gets a client, or the bytes to send."""

    def register(what):
        CASES.append((section, about, expected, stream, client, what))
        return what

    return register


def sends(section, about, data, *expected, stream=1, **client):
    case(section, about, *expected, stream=stream, **client)(lambda it: it.send(data))


PROTOCOL = "connection PROTOCOL_ERROR"
SIZE = "connection FRAME_SIZE_ERROR"
FLOW = "connection FLOW_CONTROL_ERROR"
CLOSED = "connection STREAM_CLOSED"
COMPRESSION = "connection COMPRESSION_ERROR"
# Each may be one of the connection instead (5.4.2); a request that is malformed may be answered (8.1.1).
STREAM_PROTOCOL = ("stream PROTOCOL_ERROR", PROTOCOL)
MALFORMED = (*STREAM_PROTOCOL, "answer 400")
STREAM_CLOSED = ("stream STREAM_CLOSED", CLOSED)
STREAM_FLOW = ("stream FLOW_CONTROL_ERROR", FLOW)
STREAM_SIZE = ("stream FRAME_SIZE_ERROR", SIZE)
FINE = "answer 200"

sends("3.4", "a preface that is none", b"", PROTOCOL, "closed", preface=b"INVALID CONNECTION PREFACE\r\n\r\n")
sends("3.4", "a request right behind the preface", get(1), FINE)
sends("4.1", "a frame of an unknown type", frame(0x16, 0, 0, b"12345678") + get(1), FINE)
sends("4.1", "flags that are not defined", frame(PING, 0x16, 0, b"12345678") + get(1), FINE)
sends("4.1", "the reserved bit of a stream", frame(PING, 0, 0x80000000, b"12345678") + get(1), FINE)
sends("4.2", "DATA of the largest size", post(1) + frame(DATA, END_STREAM, 1, bytes(16384)), FINE)
sends("4.2", "DATA over the largest size", post(1) + frame(DATA, END_STREAM, 1, bytes(16385)), *STREAM_SIZE)
sends("4.2", "HEADERS over the largest size", get(1, block() + bytes(16385)), SIZE)
sends("4.3", "a block that cannot be unpacked", get(1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"), COMPRESSION)
sends("4.3", "PRIORITY within a block", get(1, flags=END_STREAM) + frame(PRIORITY, 0, 1, b"\0\0\0\0\xff"), PROTOCOL)
sends("4.3", "HEADERS of another stream within a block", get(1, flags=END_STREAM) + get(3), PROTOCOL)
sends("5.1", "DATA to an idle stream", frame(DATA, END_STREAM, 1, b"test"), PROTOCOL, *STREAM_CLOSED)
sends("5.1", "RST_STREAM to an idle stream", frame(RST, 0, 1, b"\0\0\0\x08"), PROTOCOL)
sends("5.1", "WINDOW_UPDATE to an idle stream", frame(WINDOW, 0, 1, b"\0\0\0\x64"), PROTOCOL)
sends("5.1", "CONTINUATION to an idle stream", frame(CONTINUATION, END_HEADERS, 1, block()), PROTOCOL)
sends("5.1", "DATA to a stream that the client has closed", get(1) + frame(DATA, END_STREAM, 1, b"test"), *STREAM_CLOSED)
sends("5.1", "HEADERS to a stream that the client has closed", get(1) + get(1), *STREAM_CLOSED)
sends("5.1", "CONTINUATION to a stream that the client has closed", get(1) + frame(CONTINUATION, END_HEADERS, 1, block()), PROTOCOL, *STREAM_CLOSED)
sends("5.1", "DATA to a stream that was reset", post(1) + frame(RST, 0, 1, b"\0\0\0\x08") + frame(DATA, END_STREAM, 1, b"test") + get(3), FINE, *STREAM_CLOSED, stream=3)
sends("5.1", "PRIORITY to an idle stream", frame(PRIORITY, 0, 1, b"\0\0\0\0\xff") + get(3), FINE, stream=3)
sends("5.1.1", "a stream of an even number", get(2), PROTOCOL, stream=2)
sends("5.1.1", "a stream of a lower number than the last", get(5) + get(3), PROTOCOL, *STREAM_CLOSED, stream=3)
sends("5.3", "a stream that depends on itself, which counts for nothing now", frame(PRIORITY, 0, 1, b"\0\0\0\x01\xff") + get(3), FINE, *STREAM_PROTOCOL, stream=3)
sends("5.5", "an unknown frame within a block", get(1, flags=END_STREAM) + frame(0x16, 0, 0, b"12345678"), PROTOCOL)
sends("6.1", "DATA on stream 0", frame(DATA, END_STREAM, 0, b"test"), PROTOCOL)
sends("6.1", "DATA with padding", post(1) + frame(DATA, END_STREAM | PADDED, 1, b"\x06test\0\0\0\0\0\0"), FINE)
sends("6.1", "DATA with more padding than payload", post(1) + frame(DATA, END_STREAM | PADDED, 1, b"\x06test"), PROTOCOL)
sends("6.2", "HEADERS on stream 0", get(0), PROTOCOL)
sends("6.2", "HEADERS with padding", get(1, b"\x03" + block() + bytes(3), END_STREAM | END_HEADERS | PADDED), FINE)
sends("6.2", "HEADERS with more padding than payload", get(1, b"\xff" + block(), END_STREAM | END_HEADERS | PADDED), PROTOCOL)
sends("6.2", "HEADERS with a priority", get(1, b"\0\0\0\0\x0f" + block(), END_STREAM | END_HEADERS | PRIORITIZED), FINE)
sends("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, b"\0\0\0\0\xff"), PROTOCOL)
sends("6.3", "PRIORITY of another length than 5", get(1, flags=END_HEADERS) + frame(PRIORITY, 0, 1, b"\0\0\0\x01"), *STREAM_SIZE)
sends("6.4", "RST_STREAM on stream 0", frame(RST, 0, 0, b"\0\0\0\x08"), PROTOCOL)
sends("6.4", "RST_STREAM of another length than 4", get(1, flags=END_HEADERS) + frame(RST, 0, 1, b"\0\0\0"), SIZE)
sends("6.5", "SETTINGS with ACK and a payload", frame(SETTINGS, ACK, 0, setting(3, 1)), SIZE)
sends("6.5", "SETTINGS on another stream than 0", frame(SETTINGS, 0, 1, setting(3, 100)), PROTOCOL)
sends("6.5", "SETTINGS of a length that is no multiple of 6", frame(SETTINGS, 0, 0, b"\0\3\0"), SIZE)
sends("6.5.2", "ENABLE_PUSH that is neither 0 nor 1", frame(SETTINGS, 0, 0, setting(2, 2)), PROTOCOL)
sends("6.5.2", "INITIAL_WINDOW_SIZE over its largest", frame(SETTINGS, 0, 0, setting(4, 1 << 31)), FLOW)
sends("6.5.2", "MAX_FRAME_SIZE below its least", frame(SETTINGS, 0, 0, setting(5, 16383)), PROTOCOL)
sends("6.5.2", "MAX_FRAME_SIZE over its largest", frame(SETTINGS, 0, 0, setting(5, 1 << 24)), PROTOCOL)
sends("6.5.2", "a setting that is not known", frame(SETTINGS, 0, 0, setting(0xFF, 1)) + get(1), FINE)
sends("6.5.3", "settings of one frame, in their order", frame(SETTINGS, 0, 0, setting(4, 1) + setting(4, 1 << 20)) + get(1), FINE)
sends("6.6", "PUSH_PROMISE of a client", frame(PUSH, END_HEADERS, 1, b"\0\0\0\x02" + block()), PROTOCOL)
sends("6.7", "PING on another stream than 0", frame(PING, 0, 1, b"12345678"), PROTOCOL)
sends("6.7", "PING of another length than 8", frame(PING, 0, 0, b"123456"), SIZE)
sends("6.8", "GOAWAY on another stream than 0", frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL)
sends("6.9", "WINDOW_UPDATE of 0 for the connection", frame(WINDOW, 0, 0, bytes(4)), PROTOCOL)
sends("6.9", "WINDOW_UPDATE of 0 for a stream", post(1) + frame(WINDOW, 0, 1, bytes(4)), *STREAM_PROTOCOL)
sends("6.9", "WINDOW_UPDATE of another length than 4", frame(WINDOW, 0, 0, b"\0\0\1"), SIZE)
sends("6.9.1", "a window of the connection over its largest", frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2, FLOW)
sends("6.9.1", "a window of a stream over its largest", post(1) + frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff") * 2, *STREAM_FLOW)
sends("6.9.2", "a window that a setting takes over its largest", post(1) + frame(WINDOW, 0, 1, b"\x7f\xff\0\0") + frame(SETTINGS, 0, 0, setting(4, 0x7FFFFFFF)), FLOW)
sends("6.10", "a block in pieces", get(1, block()[:9], END_STREAM) + frame(CONTINUATION, 0, 1, block()[9:20]) + frame(CONTINUATION, END_HEADERS, 1, block()[20:]), FINE)
sends("6.10", "CONTINUATION without a block", post(1) + frame(CONTINUATION, END_HEADERS, 1, literal("a", "b")), PROTOCOL)
sends("6.10", "CONTINUATION on stream 0", get(1, flags=END_STREAM) + frame(CONTINUATION, END_HEADERS, 0, literal("a", "b")), PROTOCOL)
sends("6.10", "CONTINUATION after the end of a block", get(1, flags=END_HEADERS) + frame(CONTINUATION, END_HEADERS, 1, literal("a", "b")), PROTOCOL)
sends("6.10", "DATA within a block", get(1, flags=0) + frame(DATA, END_STREAM, 1, b"test"), PROTOCOL)
sends("7", "an error code that is not known", post(1) + frame(RST, 0, 1, b"\0\0\0\xff") + get(3), FINE, stream=3)
sends("8.1", "HEADERS without END_STREAM for the second time", post(1) + frame(HEADERS, END_HEADERS, 1, literal("x-test", "ok")), *MALFORMED)
sends("8.1", "trailers", post(1) + frame(DATA, 0, 1, b"test") + frame(HEADERS, END_STREAM | END_HEADERS, 1, literal("x-test", "ok")), FINE)
sends("8.1.1", "a content-length that is not that of the body", post(1, ("content-length", "1")) + frame(DATA, END_STREAM, 1, b"test"), *MALFORMED)
sends("8.1.1", "a content-length that is not that of two frames", post(1, ("content-length", "5")) + frame(DATA, 0, 1, b"test") + frame(DATA, END_STREAM, 1, b"test"), *MALFORMED)
sends("8.2.1", "a name in upper case", get(1, block(("X-Test", "ok"))), *MALFORMED)
sends("8.2.1", "a value with an end of line", get(1, block(("x-test", "a\nb"))), *MALFORMED)
sends("8.2.1", "a name with a colon", get(1, block(("x:test", "a"))), *MALFORMED)
sends("8.2.2", "`connection`", get(1, block(("connection", "keep-alive"))), *MALFORMED)
sends("8.2.2", "`te` that is not `trailers`", get(1, block(("te", "gzip"))), *MALFORMED)
sends("8.2.2", "`te: trailers`", get(1, block(("te", "trailers"))), FINE)
sends("8.3", "a pseudo-header that is not known", get(1, block((":test", "ok"))), *MALFORMED)
sends("8.3", "a pseudo-header of responses", get(1, block((":status", "200"))), *MALFORMED)
sends("8.3", "a pseudo-header in trailers", post(1) + frame(HEADERS, END_STREAM | END_HEADERS, 1, literal(":method", "GET")), *MALFORMED)
sends("8.3", "a pseudo-header behind others", get(1, literal("x-test", "ok") + block()), *MALFORMED)
sends("8.3.1", "an empty `:path`", get(1, block(path="")), *MALFORMED)
for missing in (":method", ":scheme", ":path"):
    sends("8.3.1", f"no `{missing}`", get(1, block(without=(missing,))), *MALFORMED)
for name, value in ((":method", "GET"), (":scheme", "http"), (":path", "/")):
    sends("8.3.1", f"`{name}` twice", get(1, literal(name, value) + block()), *MALFORMED)
sends("8.3.1", "OPTIONS of `*`", get(1, block(method="OPTIONS", path="*")), FINE, "answer 400", "answer 404", "answer other")
sends("HPACK 2.3.3", "an index that there is not", get(1, b"\xfe" + block()), COMPRESSION)
sends("HPACK 4.2", "a table size change behind fields", get(1, block() + b"\x21"), COMPRESSION)
sends("HPACK 5.2", "a Huffman code with more padding than a byte", get(1, block() + b"\0\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), COMPRESSION, *MALFORMED)
sends("HPACK 5.2", "a Huffman code with an end in it", get(1, block() + b"\0\x85\xf2\xb2\x4a\x84\xff\x83\xff\xff\xff"), COMPRESSION, *MALFORMED)
sends("HPACK 6.1", "index 0", get(1, b"\x80" + block()), COMPRESSION)
sends("HPACK 6.3", "a table size over the limit", get(1, b"\x3f\xff\xff\xff\x7f" + block()), COMPRESSION)


@case("6.5.3", "SETTINGS are acknowledged", "acknowledged")
def acknowledged(it):
    for kind, flags, _, _ in it.frames():
        if kind == SETTINGS and flags & ACK:
            return "acknowledged"
    return "closed"


@case("6.7", "PING is answered with its payload", "answered")
def ping(it):
    it.send(frame(PING, 0, 0, b"embly-12"))
    for kind, flags, _, payload in it.frames():
        if kind == PING and flags & ACK:
            return "answered" if payload == b"embly-12" else "with another payload"
    return "closed"


@case("6.7", "PING with ACK is not answered", "only the second")
def pong(it):
    it.send(frame(PING, ACK, 0, b"embly-12") + frame(PING, 0, 0, b"embly-34"))
    for kind, flags, _, payload in it.frames():
        if kind == PING and flags & ACK:
            return "only the second" if payload == b"embly-34" else "the first as well"
    return "closed"


@case("6.9", "DATA goes no further than the window", "a byte, then the rest", settings=setting(4, 1))
def window(it):
    it.send(get(1))
    sizes = []
    for kind, flags, stream, payload in it.frames():
        if kind == DATA and stream == 1:
            sizes.append(len(payload))
            if flags & END_STREAM:
                return "a byte, then the rest" if sizes[0] == 1 and max(sizes[1:]) <= 100000 else f"{sizes}"
            if len(sizes) == 1:
                it.send(frame(WINDOW, 0, 1, struct.pack(">I", 100000)))
    return "closed"


@case("6.9.2", "a window of less than nothing holds DATA back", "held back", settings=setting(4, 3))
def negative(it):
    it.send(get(1))
    sizes = []
    for kind, flags, stream, payload in it.frames():
        if kind == DATA and stream == 1:
            sizes.append(len(payload))
            if len(sizes) == 1:
                # 2 less than nothing, then 1 more than nothing.
                it.send(frame(SETTINGS, 0, 0, setting(4, 1)) + frame(WINDOW, 0, 1, b"\0\0\0\3"))
            else:
                return "held back" if sizes == [3, 1] else f"{sizes}"
    return "closed"


@case("6.8", "what runs at a GOAWAY is answered", "answer 200")
def goaway(it):
    it.send(get(1) + frame(GOAWAY, 0, 0, bytes(8)))


@case("5.1.2", "so many streams as were allowed, and no more", "stream REFUSED_STREAM", "stream PROTOCOL_ERROR", "connection PROTOCOL_ERROR")
def many(it):
    most = 0
    for kind, flags, _, payload in it.frames():
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                number, value = struct.unpack_from(">HI", payload, at)
                most = value if number == 3 else most
            break
    if not 0 < most <= 1000:
        return f"{most} are allowed"
    last = 2 * most + 1
    it.send(b"".join(post(stream) for stream in range(1, last + 1, 2)))
    return it.outcome(last)


def judged(seen, expected):
    """Whether it is right, or an error as it has to be but for its code, or wrong."""
    # A server that ends the connection may do so without a word, where the client is at fault.
    if seen in expected or (seen == "closed" and expected[0].startswith("connection")):
        return "ok"
    same = any(seen.split()[0] == one.split()[0] and one.split()[0] in ("stream", "connection") for one in expected)
    return "other code" if same else "FAILED"


def main():
    port = int(sys.argv[1])
    counts = {"ok": 0, "other code": 0, "FAILED": 0}
    for section, about, expected, stream, client, what in CASES:
        it = Client(port, **client)
        try:
            seen = what(it)
            if seen is None:
                seen = it.outcome(stream)
        except TimeoutError:
            seen = "nothing"
        it.socket.close()
        kind = judged(seen, expected)
        counts[kind] += 1
        wanted = "" if kind == "ok" else f", expected {' or '.join(expected)}"
        print(f"{kind:10}  {section}  {about}: {seen}{wanted}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    sys.exit(counts["FAILED"] > 0)


main()
