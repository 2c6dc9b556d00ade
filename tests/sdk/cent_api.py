"""What a backend does with the unmodified PyPI `cent` library: every call of the server API.

Run by scripts/api. SDK_URL names the server by its WebSocket address; a plain `websockets` client is
who is called about. The oracle has no HTTP API, so this runs against Corecast alone.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
import unittest
import uuid
from typing import Any
from urllib.parse import urlsplit

import websockets
from cent import (
    AsyncClient,
    BatchRequest,
    BoolValue,
    BroadcastRequest,
    CentApiResponseError,
    CentUnauthorizedError,
    ChannelOptionsOverride,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)

URL = os.environ.get("SDK_URL", "ws://127.0.0.1:8000/connection/websocket")
SECRET = os.environ.get("SDK_SECRET", "sdk-tests-secret-sdk-tests-secret")
KEY = os.environ.get("SDK_API_KEY", "sdk-tests")
API = f"http://{urlsplit(URL).netloc}/api"


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time()) + 300}
    signed = b".".join(part(json.dumps(v).encode()) for v in ({"alg": "HS256"}, claims))
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(signature)).decode()


class SubscribeUntil(SubscribeRequest):
    """What the library does not have yet."""

    expire_at: int


class RefreshWithInfo(RefreshRequest):
    """The same."""

    info: Any


def name(namespace="chat"):
    return f"{namespace}:{uuid.uuid4()}"


class Listener:
    """A connection of a user that notes what it is told."""

    def __init__(self, user):
        self.user = user
        self.ids = 0
        self.told = []

    async def __aenter__(self):
        self.socket = await websockets.connect(URL)
        self.client = (await self.ask("connect", {"token": token(self.user)}))["client"]
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def ask(self, method, params):
        self.ids += 1
        await self.socket.send(json.dumps({"id": self.ids, method: params}))
        while True:
            for message in await self.receive():
                if message.get("id") == self.ids:
                    assert "error" not in message, message
                    return message[method]
                self.told.append(message)

    async def receive(self):
        text = await asyncio.wait_for(self.socket.recv(), 10)
        messages = [json.loads(line) for line in text.split("\n")]
        if {} in messages:
            await self.socket.send("{}")
        return [message for message in messages if message]

    async def push(self, kind):
        """The next push of this kind, whatever comes before it."""
        while True:
            for place, message in enumerate(self.told):
                if kind in message.get("push", {}):
                    push = self.told.pop(place)["push"]
                    return push["channel"], push[kind]
            self.told.extend(await self.receive())

    async def closed(self):
        """Code and reason of the server's close, which comes in time."""
        return await asyncio.wait_for(self.end(), 10)

    async def end(self):
        while True:
            try:
                await self.receive()
            except websockets.ConnectionClosed as end:
                return end.rcvd.code, end.rcvd.reason


class Calls(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.api = AsyncClient(API, KEY)
        self.addAsyncCleanup(self.api.close)

    async def code(self, call):
        with self.assertRaises(CentApiResponseError) as caught:
            await call
        return caught.exception.code

    async def test_publish_reaches_subscribers_with_its_tags(self):
        channel = name()
        async with Listener("ann") as ann:
            await ann.ask("subscribe", {"channel": channel})
            first = await self.api.publish(
                PublishRequest(channel=channel, data={"n": 1}, tags={"kind": "news"})
            )
            told = await ann.push("pub")
            self.assertEqual(told[0], channel)
            self.assertEqual(told[1]["data"], {"n": 1})
            self.assertEqual(told[1]["tags"], {"kind": "news"})
            self.assertNotIn("info", told[1])
            self.assertEqual((first.offset, told[1]["offset"]), (1, 1))
            second = await self.api.publish(PublishRequest(channel=channel, data=0))
            self.assertEqual((second.offset, second.epoch), (2, first.epoch))
        plain = await self.api.publish(PublishRequest(channel=name("plain"), data=[]))
        self.assertEqual((plain.offset, plain.epoch), (0, ""))

    async def test_publish_that_is_not_kept(self):
        channel = name()
        async with Listener("ann") as ann:
            await ann.ask("subscribe", {"channel": channel})
            await self.api.publish(PublishRequest(channel=channel, data=1))
            passing = PublishRequest(channel=channel, data=2, skip_history=True)
            self.assertEqual((await self.api.publish(passing)).offset, 0)
            await self.api.publish(PublishRequest(channel=channel, data=3))
            told = [(await ann.push("pub"))[1] for _ in range(3)]
            self.assertEqual([it["data"] for it in told], [1, 2, 3])
            self.assertEqual([it.get("offset") for it in told], [1, None, 2])
        kept = await self.api.history(HistoryRequest(channel=channel, limit=-1))
        self.assertEqual([it.data for it in kept.publications], [1, 3])

    async def test_publish_in_base64(self):
        channel = name()
        data = base64.b64encode(b'{"a": [1]}').decode()
        await self.api.publish(PublishRequest(channel=channel, data={}, b64data=data))
        kept = await self.api.history(HistoryRequest(channel=channel, limit=1))
        self.assertEqual(kept.publications[0].data, {"a": [1]})
        for bad in ("?", base64.b64encode(b"\xff\x00").decode()):
            publish = PublishRequest(channel=channel, data={}, b64data=bad)
            self.assertEqual(await self.code(self.api.publish(publish)), 107)

    async def test_publish_once_for_a_key(self):
        channel = name()
        publish = PublishRequest(channel=channel, data=1, idempotency_key="once")
        first = await self.api.publish(publish)
        again = await self.api.publish(publish)
        self.assertEqual((again.offset, again.epoch), (first.offset, first.epoch))
        kept = await self.api.history(HistoryRequest(channel=channel, limit=-1))
        self.assertEqual(len(kept.publications), 1)

    async def test_publish_errors(self):
        for channel, expected in (("nowhere:x", 102), ("", 107), ("x" * 300, 107)):
            publish = PublishRequest(channel=channel, data=1)
            self.assertEqual(await self.code(self.api.publish(publish)), expected, channel)
        large = PublishRequest(channel=name(), data="x" * 70_000)
        self.assertEqual(await self.code(self.api.publish(large)), 106)

    async def test_broadcast_has_each_answer_in_its_place(self):
        channels = [name(), "nowhere:x", name("plain"), "", name()]
        result = await self.api.broadcast(BroadcastRequest(channels=channels, data={"b": 1}))
        codes = [it.error and it.error.code for it in result.responses]
        self.assertEqual(codes, [None, 102, None, 107, None])
        offsets = [it.result and it.result.offset for it in result.responses]
        self.assertEqual(offsets, [1, None, 0, None, 1])
        many = [name() for _ in range(500)]
        result = await self.api.broadcast(BroadcastRequest(channels=many, data=1))
        self.assertTrue(all(it.result.offset == 1 for it in result.responses))
        self.assertEqual(len(result.responses), 500)
        self.assertEqual(await self.code(self.api.broadcast(BroadcastRequest(channels=[], data=1))), 107)

    async def test_subscribe_and_unsubscribe(self):
        channel, user = name(), str(uuid.uuid4())
        before = await self.api.publish(PublishRequest(channel=channel, data="before"))
        async with Listener(user) as one, Listener(user) as other:
            await self.api.subscribe(
                SubscribeRequest(user=user, channel=channel, client=one.client, data={"hello": 1})
            )
            told, push = await one.push("subscribe")
            self.assertEqual((told, push.get("data")), (channel, {"hello": 1}))
            await self.api.publish(PublishRequest(channel=channel, data="live"))
            self.assertEqual((await one.push("pub"))[1]["data"], "live")
            # The other of the user's connections, from before, with recovery.
            await self.api.subscribe(
                SubscribeRequest(
                    user=user,
                    channel=channel,
                    client=other.client,
                    recover_since=StreamPosition(offset=0, epoch=before.epoch),
                    override=ChannelOptionsOverride(force_recovery=BoolValue(value=True)),
                )
            )
            told = (await other.push("subscribe"))[1]
            # From where it recovers; what it missed follows as publications.
            self.assertEqual(told.get("offset", 0), 0)
            self.assertEqual((await other.push("pub"))[1]["offset"], 1)
            await self.api.unsubscribe(UnsubscribeRequest(user=user, channel=channel))
            for connection in (one, other):
                self.assertEqual((await connection.push("unsubscribe"))[0], channel)
        self.assertEqual(
            await self.code(
                self.api.subscribe(SubscribeRequest(user=user, channel="nowhere:x"))
            ),
            102,
        )
        # A user who is not there: nothing to do is no error.
        await self.api.unsubscribe(UnsubscribeRequest(user=str(uuid.uuid4()), channel=channel))

    async def test_a_subscription_ends_when_it_was_to(self):
        channel, user = name("plain"), str(uuid.uuid4())
        end = int(time.time()) + 3
        async with Listener(user) as ann:
            await self.api.subscribe(SubscribeUntil(user=user, channel=channel, expire_at=end))
            await ann.push("subscribe")
            told, push = await ann.push("unsubscribe")
            self.assertEqual((told, push["code"]), (channel, 2501))
            self.assertGreaterEqual(time.time(), end)
            await ann.ask("ping", {})
        over = SubscribeUntil(user=user, channel=channel, expire_at=end)
        self.assertEqual(await self.code(self.api.subscribe(over)), 110)

    async def test_disconnect(self):
        user = str(uuid.uuid4())
        async with Listener(user) as one, Listener(user) as two, Listener(user) as three:
            await self.api.disconnect(DisconnectRequest(user=user, client=one.client))
            self.assertEqual(await one.closed(), (3503, "force disconnect"))
            own = Disconnect(code=4123, reason="tea")
            spare = [three.client]
            await self.api.disconnect(
                DisconnectRequest(user=user, whitelist=spare, disconnect=own)
            )
            self.assertEqual(await two.closed(), (4123, "tea"))
            await three.ask("ping", {})
            await self.api.disconnect(DisconnectRequest(user=user))
            self.assertEqual((await three.closed())[0], 3503)
        bad = DisconnectRequest(user=user, disconnect=Disconnect(code=1000, reason=""))
        self.assertEqual(await self.code(self.api.disconnect(bad)), 107)

    async def test_refresh(self):
        user = str(uuid.uuid4())
        async with Listener(user) as ann:
            later = int(time.time()) + 60
            await self.api.refresh(RefreshRequest(user=user, expire_at=later))
            await ann.ask("ping", {})
            channel = name("plain")
            await ann.ask("subscribe", {"channel": channel})
            await self.api.refresh(RefreshWithInfo(user=user, expire_at=later, info={"seat": 7}))
            await ann.ask("publish", {"channel": channel, "data": 1})
            self.assertEqual((await ann.push("pub"))[1]["info"]["conn_info"], {"seat": 7})
            await self.api.refresh(RefreshRequest(user=user, expired=True))
            code, _ = await ann.closed()
            self.assertTrue(3000 <= code < 5000, code)

    async def test_presence(self):
        channel = name()
        async with Listener("ann") as ann, Listener("bob") as bob, Listener("bob") as again:
            for connection in (ann, bob, again):
                await connection.ask("subscribe", {"channel": channel})
            there = (await self.api.presence(PresenceRequest(channel=channel))).presence
            expected = {ann.client: "ann", bob.client: "bob", again.client: "bob"}
            self.assertEqual({client: info.user for client, info in there.items()}, expected)
            stats = await self.api.presence_stats(PresenceStatsRequest(channel=channel))
            self.assertEqual((stats.num_clients, stats.num_users), (3, 2))
        plain = name("plain")
        self.assertEqual(await self.code(self.api.presence(PresenceRequest(channel=plain))), 108)
        request = PresenceStatsRequest(channel=plain)
        self.assertEqual(await self.code(self.api.presence_stats(request)), 108)

    async def test_history(self):
        channel = name()
        for number in range(1, 6):
            await self.api.publish(PublishRequest(channel=channel, data=number))
        position = await self.api.history(HistoryRequest(channel=channel))
        self.assertEqual((position.publications, position.offset), ([], 5))
        since = StreamPosition(offset=2, epoch=position.epoch)
        page = await self.api.history(HistoryRequest(channel=channel, limit=2, since=since))
        self.assertEqual([(it.offset, it.data) for it in page.publications], [(3, 3), (4, 4)])
        back = await self.api.history(HistoryRequest(channel=channel, limit=2, reverse=True))
        self.assertEqual([it.data for it in back.publications], [5, 4])
        whichever = StreamPosition(offset=3, epoch="")
        page = await self.api.history(HistoryRequest(channel=channel, limit=-1, since=whichever))
        self.assertEqual([it.offset for it in page.publications], [4, 5])
        start = HistoryRequest(
            channel=channel, limit=1, reverse=True, since=StreamPosition(offset=0, epoch="")
        )
        self.assertEqual(await self.code(self.api.history(start)), 107)
        other = StreamPosition(offset=2, epoch="zzzz")
        request = HistoryRequest(channel=channel, limit=1, since=other)
        self.assertEqual(await self.code(self.api.history(request)), 112)
        plain = HistoryRequest(channel=name("plain"), limit=1)
        self.assertEqual(await self.code(self.api.history(plain)), 108)
        await self.api.history_remove(HistoryRemoveRequest(channel=channel))
        gone = await self.api.history(HistoryRequest(channel=channel, limit=-1))
        self.assertEqual((gone.publications, gone.offset), ([], 5))
        self.assertEqual(gone.epoch, position.epoch)

    async def test_channels(self):
        mark = str(uuid.uuid4())
        channels = [f"chat:{mark}:{number}" for number in range(5)] + [f"plain:{mark}"]
        async with Listener("ann") as ann, Listener("bob") as bob:
            for channel in channels:
                await ann.ask("subscribe", {"channel": channel})
            await bob.ask("subscribe", {"channel": channels[0]})
            every = (await self.api.channels(ChannelsRequest())).channels
            ours = {channel: info.num_clients for channel, info in every.items() if mark in channel}
            self.assertEqual(ours, {channel: 2 if channel == channels[0] else 1 for channel in channels})
            for pattern, count in (
                (f"chat:{mark}:*", 5),
                (f"*{mark}*", 6),
                (f"{{chat:{mark}:[0-2],plain:*}}", None),
                (f"chat:{mark}:?", 5),
                (f"chat:{mark}:[!0]", 4),
                ("nothing", 0),
            ):
                found = (await self.api.channels(ChannelsRequest(pattern=pattern))).channels
                ours = [channel for channel in found if mark in channel]
                self.assertEqual(len(ours), 4 if count is None else count, pattern)
        self.assertEqual(await self.code(self.api.channels(ChannelsRequest(pattern="[a"))), 107)

    async def test_info(self):
        user = str(uuid.uuid4())
        async with Listener(user) as one, Listener(user) as two:
            await one.ask("subscribe", {"channel": name()})
            await two.ask("subscribe", {"channel": name()})
            [node] = (await self.api.info(InfoRequest())).nodes
        self.assertTrue(node.uid and node.name and node.version)
        self.assertGreaterEqual(node.num_clients, 2)
        self.assertGreaterEqual(node.num_users, 1)
        self.assertGreaterEqual(node.num_channels, 2)
        self.assertGreaterEqual(node.num_subs, 2)
        self.assertGreater(node.process.rss, 1 << 20)
        self.assertGreaterEqual(node.metrics.items["accepted_total"], 2)

    async def test_batch(self):
        one, two = name(), name()
        for parallel in (False, True):
            result = await self.api.batch(
                BatchRequest(
                    requests=[
                        PublishRequest(channel=one, data=1),
                        PublishRequest(channel=two, data=2),
                        BroadcastRequest(channels=[one, "nowhere:x"], data=3),
                        HistoryRequest(channel=one, limit=-1),
                        ChannelsRequest(pattern="nothing"),
                        InfoRequest(),
                    ],
                    parallel=parallel,
                )
            )
            publish, _, broadcast, history, channels, info = result.replies
            self.assertEqual(broadcast.responses[1].error.code, 102)
            self.assertEqual(broadcast.responses[0].result.offset, publish.offset + 1)
            self.assertEqual([it.data for it in history.publications][-2:], [1, 3])
            self.assertEqual((channels.channels, len(info.nodes)), ({}, 1))

    async def test_calls_need_the_key(self):
        client = AsyncClient(API, "another")
        self.addAsyncCleanup(client.close)
        with self.assertRaises(CentUnauthorizedError):
            await client.info(InfoRequest())

    async def test_the_synchronous_client(self):
        def call():
            with Client(API, KEY) as client:
                channel = name()
                first = client.publish(PublishRequest(channel=channel, data=1))
                second = client.publish(PublishRequest(channel=channel, data=2))
                return first.offset, second.offset

        self.assertEqual(await asyncio.to_thread(call), (1, 2))


if __name__ == "__main__":
    unittest.main(verbosity=2)
