"""A client over the WebSockets of `websockets`, over the HTTP/2 of `h2`, or over a Unix socket.

A frame: the length of the rest, the length of the header (their top byte tells how it is written,
0 is JSON), the header, the body. All numbers are big-endian.
"""

import json
import socket
import struct
import sys
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SEND_MESSAGE = 10
PULL_MESSAGE = 11

SUCCESS = 0
PULL_NOT_FOUND = 19

# The command's header says whose subscription it is: its own.
SUBSCRIPTION = 4

# Where the length of the body is in a stored message whose hosts are IPv4. Behind the body come the
# topic, with one byte for its length, and the properties, with two.
BODY_LENGTH_AT = 84

PATIENCE_SECONDS = 120


class Refused(Exception):
    """The server ended the connection, and says how."""


class WebSocket:
    """Each message is a frame."""

    def __init__(self, address):
        self.socket = connect(f"ws://{address}/v1/frames", open_timeout=PATIENCE_SECONDS)

    def send(self, frame):
        self.socket.send(frame)

    def receive(self):
        try:
            return self.socket.recv(timeout=PATIENCE_SECONDS)
        except ConnectionClosed as closed:
            raise Refused(f"closed with {closed.rcvd.code}") from closed

    def offend(self):
        """Sends what is not one whole frame."""
        self.send(struct.pack(">I", 1000))
        self.receive()


class Http2:
    """The bodies of one request and its answer are frames, one behind the other."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", address),
            (":path", "/v1/frames"),
        ]
        self.stream = self.open()
        self.unread = b""

    def open(self):
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, self.head)
        return stream

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def send(self, frame):
        self.http.send_data(self.stream, frame)
        self.flush()

    def receive(self):
        length = 4
        while len(self.unread) < length:
            self.read()
            if len(self.unread) >= 4:
                length = 4 + struct.unpack_from(">I", self.unread)[0]
        frame, self.unread = self.unread[:length], self.unread[length:]
        return frame

    def read(self):
        data = self.socket.recv(65536)
        if not data:
            raise Refused("closed")
        for event in self.http.receive_data(data):
            if isinstance(event, DataReceived):
                self.unread += event.data
                acknowledged = event.flow_controlled_length
                self.http.acknowledge_received_data(acknowledged, event.stream_id)
            elif isinstance(event, ConnectionTerminated):
                raise Refused(f"GOAWAY {event.error_code.name}")
            elif isinstance(event, (StreamEnded, StreamReset)) and event.stream_id == self.stream:
                raise Refused("the exchange has ended")
        try:
            self.flush()
        except (BrokenPipeError, ConnectionResetError):
            # The server has closed the connection; what it said before is still to be read.
            pass

    def offend(self):
        """Opens exchanges only to reset them, as in CVE-2023-44487."""
        for _ in range(1000):
            self.http.reset_stream(self.open())
        self.flush()
        while True:
            self.read()


class UnixSocket:
    """Frames one behind the other."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rb")

    def send(self, frame):
        self.socket.sendall(frame)

    def receive(self):
        length = self.stream.read(4)
        return length + self.stream.read(struct.unpack(">I", length)[0])


class Client:
    def __init__(self, transport):
        self.transport = transport
        self.asked = 0

    def ask(self, code, fields, body=b""):
        """Asks and waits for the answer: its header and its body."""
        self.asked += 1
        header = {
            "code": code,
            "language": "PYTHON",
            "version": 513,
            "opaque": self.asked,
            "flag": 0,
            "extFields": fields,
        }
        head = json.dumps(header).encode()
        self.transport.send(struct.pack(">II", 4 + len(head) + len(body), len(head)) + head + body)
        while True:
            frame = self.transport.receive()
            end = 8 + (struct.unpack_from(">I", frame, 4)[0] & 0xFFFFFF)
            header = json.loads(frame[8:end])
            # Requests of the server have numbers of its own.
            if header["flag"] & 1 and header["opaque"] == self.asked:
                return header, frame[end:]

    def send(self, topic, text, tag, key, colour):
        properties = {"TAGS": tag, "KEYS": key, "colour": colour}
        fields = {
            "producerGroup": "web",
            "topic": topic,
            "defaultTopic": "TBW102",
            "defaultTopicQueueNums": 1,
            "queueId": 0,
            "sysFlag": 0,
            "bornTimestamp": int(time.time() * 1000),
            "flag": 0,
            "properties": "".join(f"{name}\1{value}\2" for name, value in properties.items()),
        }
        header, _ = self.ask(SEND_MESSAGE, fields, text.encode())
        if header["code"] != SUCCESS:
            raise RuntimeError(header)
        return "sent"

    def receive(self, topic, *_):
        """All messages of the topic's first queue, each a line."""
        found = []
        offset = 0
        while True:
            fields = {
                "consumerGroup": "web",
                "topic": topic,
                "queueId": 0,
                "queueOffset": offset,
                "maxMsgNums": 32,
                "sysFlag": SUBSCRIPTION,
                "commitOffset": 0,
                "suspendTimeoutMillis": 0,
                "subscription": "*",
                "subVersion": 0,
                "expressionType": "TAG",
            }
            header, records = self.ask(PULL_MESSAGE, fields)
            if header["code"] == PULL_NOT_FOUND:
                return "\n".join(found)
            if header["code"] != SUCCESS:
                raise RuntimeError(header)
            found += map(json.dumps, messages(records))
            offset = header["extFields"]["nextBeginOffset"]

    def offend(self):
        try:
            self.transport.offend()
        except Refused as refused:
            return str(refused)


def messages(records):
    """Stored messages, their bodies as text."""

    def take(kind, at):
        """What stands behind its length."""
        length, at = struct.unpack_from(kind, records, at)[0], at + struct.calcsize(kind)
        return records[at : at + length], at + length

    at = 0
    while at < len(records):
        body, behind = take(">I", at + BODY_LENGTH_AT)
        _, behind = take(">B", behind)
        properties, _ = take(">H", behind)
        pairs = (pair.split("\1") for pair in properties.decode().split("\2") if pair)
        yield {"body": body.decode(), "properties": dict(pairs)}
        at += struct.unpack_from(">I", records, at)[0]


TRANSPORTS = {"websocket": WebSocket, "http2": Http2, "unix": UnixSocket}


def main(protocol, address, action, *more):
    client = Client(TRANSPORTS[protocol](address))
    actions = {"send": client.send, "receive": client.receive, "offend": client.offend}
    print(actions[action](*more))


main(*sys.argv[1:])
