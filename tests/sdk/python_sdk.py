"""What an application does with the unmodified PyPI `centrifuge-python` SDK, in JSON.

Runs against Corecast and against the oracle; SDK_URL and SDK_SECRET name the server.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import time
import unittest
import uuid
from urllib.parse import urlsplit

from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    ClientState,
    StreamPosition,
    SubscriptionEventHandler,
)

URL = os.environ.get("SDK_URL", "ws://127.0.0.1:8000/connection/websocket")
SECRET = os.environ.get("SDK_SECRET", "sdk-tests-secret-sdk-tests-secret")


def token(user, expires_s=300, key=SECRET):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time()) + expires_s}
    signed = b".".join(part(json.dumps(v).encode()) for v in ({"alg": "HS256"}, claims))
    signature = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(signature)).decode()


def channel(namespace="chat"):
    return f"{namespace}:{uuid.uuid4()}"


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


class PythonSdk(unittest.IsolatedAsyncioTestCase):
    def client(self, url=URL, **options):
        client = Client(
            url, events=ClientEvents(), min_reconnect_delay=0.05, max_reconnect_delay=0.2, **options
        )
        self.addAsyncCleanup(client.disconnect)
        return client

    async def connect(self, url=URL, **options):
        client = self.client(url, **options)
        await client.connect()
        await client.ready(10)
        return client

    async def subscribe(self, client, name, **options):
        room = client.new_subscription(name, events=RoomEvents(), **options)
        room.seen = room.events
        await room.subscribe()
        await room.ready(10)
        return room

    @contextlib.contextmanager
    def refused(self, code):
        with self.assertRaises(CentrifugeError) as caught:
            yield
        self.assertEqual(caught.exception.code, code)

    async def test_anonymous_and_token(self):
        self.assertEqual((await self.connect()).state, ClientState.CONNECTED)
        alice = await self.connect(token=token("alice"))
        room = await self.subscribe(alice, channel())
        clients = (await room.presence()).clients
        self.assertEqual([info.user for info in clients.values()], ["alice"])

    async def test_expired_token_is_109_and_the_next_is_taken(self):
        tokens = [token("alice", expires_s=-60), token("alice")]

        async def get_token():
            return tokens.pop(0)

        client = await self.connect(get_token=get_token)
        self.assertEqual(client.events["error"], [109])
        self.assertEqual(tokens, [])

    async def test_forged_token_is_3500(self):
        client = self.client(token=token("alice", key="another-secret-another-secret-123"))
        await client.connect()
        self.assertEqual(await client.events.reach("disconnected", 1), [3500])

    async def test_publications_arrive_in_order_with_their_publisher(self):
        alice = await self.connect(token=token("alice"))
        room = await self.subscribe(await self.connect(), channel())
        await asyncio.gather(*(alice.publish(room.channel, {"n": n}) for n in range(200)))
        seen = await room.seen.reach("publication", 200)
        self.assertEqual([pub.data["n"] for pub in seen], list(range(200)))
        self.assertEqual([pub.offset for pub in seen], list(range(1, 201)))
        self.assertEqual({pub.info.user for pub in seen}, {"alice"})

    async def test_refusals_have_their_codes(self):
        client = await self.connect()
        for name, code in ((channel("nowhere"), 102), (channel("closed"), 103)):
            room = client.new_subscription(name, events=RoomEvents())
            await room.subscribe()
            self.assertEqual(await room.events.reach("unsubscribed", 1), [code])
            with self.refused(code):
                await client.publish(name, {})
        plain = channel("plain")
        for ask in (client.history, client.presence, client.presence_stats):
            with self.refused(108):
                await ask(plain)
        with self.refused(103):
            await client.publish(channel("members"), {})

    async def test_history(self):
        client = await self.connect()
        name = channel()
        for n in range(1, 8):
            await client.publish(name, {"n": n})
        top = await client.history(name, limit=0)
        self.assertEqual((top.offset, top.publications), (7, []))

        async def read(**options):
            return [pub.offset for pub in (await client.history(name, **options)).publications]

        since = StreamPosition(offset=3, epoch=top.epoch)
        self.assertEqual(await read(limit=-1), list(range(1, 8)))
        self.assertEqual(await read(limit=2, since=since), [4, 5])
        self.assertEqual(await read(limit=2, reverse=True), [7, 6])
        self.assertEqual(await read(limit=2, since=since, reverse=True), [2, 1])
        with self.refused(112):
            await read(limit=1, since=StreamPosition(offset=3, epoch="another"))

    async def test_presence_joins_and_leaves(self):
        alice = await self.connect(token=token("alice"))
        bob = await self.connect(token=token("bob"))
        room = await self.subscribe(alice, channel())
        await self.subscribe(bob, room.channel)
        await room.seen.reach("join", 2 if "alice" in room.seen["join"] else 1)
        self.assertEqual(room.seen["join"][-1], "bob")
        users = [info.user for info in (await room.presence()).clients.values()]
        self.assertEqual(sorted(users), ["alice", "bob"])
        stats = await room.presence_stats()
        self.assertEqual((stats.num_clients, stats.num_users), (2, 2))
        await bob.disconnect()
        self.assertEqual(await room.seen.reach("leave", 1), ["bob"])

    async def test_rpc(self):
        client = await self.connect()
        await client.rpc("ping", {})
        data = {"text": "h\u00e9 \U0001f600 \u2028", "deep": [None, {"n": 1.5}]}
        self.assertEqual((await client.rpc("echo", data)).data, data)
        with self.refused(104):
            await client.rpc("nothing-like-it", {})

    async def test_killed_again_and_again_a_subscriber_recovers_all(self):
        publisher = await self.connect()
        published = 0

        async def publish(count):
            nonlocal published
            for _ in range(count):
                await publisher.publish(room.channel, {"n": published})
                published += 1

        async with Wire() as wire:
            client = await self.connect(wire.url)
            room = await self.subscribe(client, channel())
            for times, away in enumerate((30, 0, 100), 1):
                await publish(10)
                await room.seen.reach("publication", published)
                wire.cut()
                await client.events.reach("connecting", 1 + times)
                await publish(away)
                wire.open = True
                answer = (await room.seen.reach("subscribed", 1 + times))[-1]
                self.assertTrue(answer.was_recovering and answer.recovered)
            await publish(10)
            seen = await room.seen.reach("publication", published)
        self.assertEqual([pub.data["n"] for pub in seen], list(range(published)))
        self.assertEqual([pub.offset for pub in seen], list(range(1, published + 1)))

    async def test_128_subscriptions_come_back_from_one_kill(self):
        publisher = await self.connect()
        async with Wire() as wire:
            client = await self.connect(wire.url)
            rooms = await asyncio.gather(
                *(self.subscribe(client, channel()) for _ in range(128))
            )
            wire.cut()
            await client.events.reach("connecting", 2)
            await asyncio.gather(
                *(publisher.publish(room.channel, {"n": n}) for n, room in enumerate(rooms))
            )
            wire.open = True
            for n, room in enumerate(rooms):
                answer = (await room.seen.reach("subscribed", 2))[-1]
                self.assertTrue(answer.was_recovering and answer.recovered)
                seen = await room.seen.reach("publication", 1)
                self.assertEqual([pub.data["n"] for pub in seen], [n])

    async def test_under_traffic_pings_keep_a_client_for_30_s(self):
        publisher = await self.connect()
        # One second more than the ping interval without a ping, and the SDK would reconnect.
        client = await self.connect(max_server_ping_delay=1)
        room = await self.subscribe(client, channel())
        start = time.monotonic()
        for n in range(300):
            await asyncio.sleep(max(0, start + n * 0.1 - time.monotonic()))
            await publisher.publish(room.channel, {"n": n})
        seen = await room.seen.reach("publication", 300)
        self.assertEqual([pub.data["n"] for pub in seen], list(range(300)))
        self.assertEqual(client.events["connecting"], [0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
