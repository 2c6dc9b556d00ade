"""What the Python tests share: where the server is, codecs, tokens, and a wire that can be cut."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import time
import unittest
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import msgpack
import websockets
from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler
from centrifuge.codecs import _JsonCodec, _ProtobufCodec

URL = os.environ.get("SDK_URL", "ws://127.0.0.1:8000/connection/websocket")
SECRET = os.environ.get("SDK_SECRET", "sdk-tests-secret-sdk-tests-secret")
# The same server once more, with one worker, where there is one.
SERVERS = [url for url in (URL, os.environ.get("SDK_URL_ONE")) if url]
ORACLE = os.environ.get("SDK_SERVER") == "oracle"
HERE = Path(__file__).parent
SCHEMA = json.loads((HERE / "schema.json").read_text())
LACKS = json.loads((HERE / "lacks.json").read_text())["oracle" if ORACLE else "corecast"]


def needs(*features):
    """Skips a test, or a class of them, where the server has not all of these."""
    missing = [feature for feature in features if feature in LACKS]
    return unittest.skipIf(missing, f"the server has no {', '.join(missing)}")


def token(user, expires_s=300, key=SECRET, **claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time()) + expires_s, **claims}
    signed = b".".join(part(json.dumps(v).encode()) for v in ({"alg": "HS256"}, claims))
    signature = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(signature)).decode()


def channel(namespace="chat"):
    return f"{namespace}:{uuid.uuid4()}"


async def api(method, server=URL, **body):
    """A call of the server API."""
    request = urllib.request.Request(
        f"http://{urlsplit(server).netloc}/api/{method}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "X-API-Key": "sdk-tests"},
    )

    def call():
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    answer = await asyncio.to_thread(call)
    for reply in [answer, *answer.get("replies", [])]:
        if reply.get("error"):
            raise AssertionError(f"{method}: {reply['error']}")
    return answer.get("result")


class MessagePackCodec:
    """The schema's numbers as keys, by PyPI `msgpack`; it stands where the SDK's codec is."""

    @classmethod
    def numbered(cls, kind, message):
        fields = {}
        for name, value in message.items():
            number, inner, many = (*SCHEMA[kind][name], None, None)[:3]
            if inner and many == "list":
                value = [cls.numbered(inner, each) for each in value]
            elif inner and many == "map":
                value = {key: cls.numbered(inner, each) for key, each in value.items()}
            elif inner:
                value = cls.numbered(inner, value)
            fields[number] = value
        return fields

    @classmethod
    def named(cls, kind, fields):
        message = {}
        for name, (number, *rest) in SCHEMA[kind].items():
            if number not in fields:
                continue
            value, (inner, many) = fields[number], (*rest, None, None)[:2]
            if inner and many == "list":
                value = [cls.named(inner, each) for each in value]
            elif inner and many == "map":
                value = {key: cls.named(inner, each) for key, each in value.items()}
            elif inner:
                value = cls.named(inner, value)
            message[name] = value
        return message

    @classmethod
    def encode_commands(cls, commands):
        return b"".join(msgpack.packb(cls.numbered("Command", command)) for command in commands)

    @classmethod
    def decode_replies(cls, data):
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(data)
        return [cls.named("Reply", reply) for reply in unpacker]

    apply_delta_if_needed = staticmethod(_ProtobufCodec.apply_delta_if_needed)


class MessagePackClient(Client):
    """The SDK, with another codec."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._codec = MessagePackCodec()

    async def _open_transport(self):
        return await websockets.connect(
            self._address, subprotocols=["corecast.v1.msgpack"], max_size=None
        )


def as_is(value):
    return value


class Json:
    """What is of a codec: the SDK, its bytes, and what applications make of values."""

    name, subprotocols, codec = "json", None, _JsonCodec()
    pack = unpack = wire = staticmethod(as_is)
    sdk = Client


class Protobuf:
    name, subprotocols, codec = "protobuf", ["centrifuge-protobuf"], _ProtobufCodec()
    pack = staticmethod(lambda value: json.dumps(value).encode())
    unpack = staticmethod(json.loads)
    # In messages of its codec bytes are base64.
    wire = staticmethod(lambda data: base64.b64encode(data).decode())

    @staticmethod
    def sdk(*args, **options):
        return Client(*args, use_protobuf=True, **options)


class MessagePack:
    name, subprotocols, codec = "msgpack", ["corecast.v1.msgpack"], MessagePackCodec()
    pack = wire = staticmethod(as_is)
    # Where deltas were agreed on, every value is the bytes of its JSON text.
    unpack = staticmethod(lambda value: json.loads(value) if isinstance(value, bytes) else value)
    sdk = MessagePackClient


class Seen:
    """What happened, by name, and waits until it has happened often enough."""

    def __init__(self):
        self.events = {}
        self.changed = asyncio.Condition()

    def __getitem__(self, name):
        return self.events.get(name, [])

    async def add(self, name, value):
        async with self.changed:
            self.events.setdefault(name, []).append(value)
            self.changed.notify_all()

    async def reach(self, name, count, timeout_s=15):
        async def wait():
            async with self.changed:
                await self.changed.wait_for(lambda: len(self[name]) >= count)

        try:
            await asyncio.wait_for(wait(), timeout_s)
        except asyncio.TimeoutError:
            raise AssertionError(f"{count} x {name}: there were {len(self[name])}") from None
        return self[name]


class ClientEvents(ClientEventHandler, Seen):
    async def on_connecting(self, ctx):
        await self.add("connecting", ctx.code)

    async def on_disconnected(self, ctx):
        await self.add("disconnected", ctx.code)

    async def on_error(self, ctx):
        await self.add("error", getattr(ctx.error, "code", ctx.code))

    async def on_subscribed(self, ctx):
        await self.add("subscribed", ctx)

    async def on_unsubscribed(self, ctx):
        await self.add("unsubscribed", ctx)

    async def on_publication(self, ctx):
        await self.add("publication", ctx)


class RoomEvents(SubscriptionEventHandler, Seen):
    async def on_subscribed(self, ctx):
        await self.add("subscribed", ctx)

    async def on_unsubscribed(self, ctx):
        await self.add("unsubscribed", ctx.code)

    async def on_publication(self, ctx):
        await self.add("publication", ctx.pub)

    async def on_join(self, ctx):
        await self.add("join", ctx.info.user)

    async def on_leave(self, ctx):
        await self.add("leave", ctx.info.user)


class Wire:
    """A TCP proxy before the server; `cut` resets what is connected and refuses what comes."""

    async def __aenter__(self):
        self.open, self.writers, self.pipes = True, set(), set()
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.url = urlsplit(URL)._replace(netloc=f"127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.cut()

    def cut(self):
        self.open = False
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def accept(self, reader, writer):
        if not self.open:
            writer.transport.abort()
            return
        to = urlsplit(URL)
        server_reader, server_writer = await asyncio.open_connection(to.hostname, to.port)
        self.writers |= {writer, server_writer}
        for pipe in (self.pipe(reader, server_writer), self.pipe(server_reader, writer)):
            task = asyncio.create_task(pipe)
            self.pipes.add(task)
            task.add_done_callback(self.pipes.discard)

    async def pipe(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
