"""Commands and replies through a bare PyPI `websockets` connection, in every codec.

Runs against Corecast and against the oracle; SDK_URL and SDK_SECRET name the server.
"""

import asyncio
import base64
import contextlib
import json
import unittest

import websockets
from python_kit import LACKS, URL, Json, MessagePack, Protobuf, channel, needs, token


class Bare:
    """One connection of a codec; pings are answered, replies found by id."""

    def __init__(self, kit, socket):
        self.kit, self.socket, self.replies, self.id, self.pings = kit, socket, [], 0, 0

    async def send(self, *commands):
        await self.socket.send(self.kit.codec.encode_commands(commands))

    async def wait(self, matches):
        while True:
            for reply in self.replies:
                if matches(reply):
                    self.replies.remove(reply)
                    return reply
            await self.receive()

    async def receive(self):
        data = await asyncio.wait_for(self.socket.recv(), 10)
        for reply in self.kit.codec.decode_replies(data):
            if reply:
                self.replies.append(reply)
            else:
                self.pings += 1
                await self.send({})

    async def ask(self, **command):
        self.id += 1
        await self.send({"id": self.id, **command})
        return await self.wait(lambda reply, number=self.id: reply.get("id") == number)

    async def publication(self):
        push = (await self.wait(lambda reply: "pub" in reply.get("push", {})))["push"]
        return self.value(push["pub"]["data"])

    def data(self, value):
        """A value as `data` of a command."""
        return self.kit.wire(self.kit.pack(value))

    def value(self, data):
        return json.loads(base64.b64decode(data)) if self.kit is Protobuf else data


class Scenarios:
    @contextlib.asynccontextmanager
    async def bare(self, kit=None):
        kit = kit or self.kit
        async with websockets.connect(URL, subprotocols=kit.subprotocols, max_size=None) as socket:
            yield Bare(kit, socket)

    async def closed_with(self, bare):
        with self.assertRaises(websockets.ConnectionClosed) as caught:
            await bare.wait(lambda _: False)
        return caught.exception.rcvd.code

    async def test_subprotocol_is_answered(self):
        async with self.bare() as bare:
            self.assertEqual(bare.socket.subprotocol, (self.kit.subprotocols or [None])[0])

    async def test_a_first_command_other_than_connect_is_3501(self):
        async with self.bare() as bare:
            await bare.send({"id": 1, "presence": {"channel": "chat:a"}})
            self.assertEqual(await self.closed_with(bare), 3501)

    async def test_a_batch_is_answered_in_order(self):
        name = channel()
        async with self.bare() as bare:
            publish = ({"id": n, "publish": {"channel": name, "data": bare.data(n)}} for n in range(3, 60))
            await bare.send(
                {"id": 1, "connect": {"token": token("alice")}},
                {"id": 2, "subscribe": {"channel": name}},
                *publish,
                {"id": 60, "history": {"channel": name, "limit": -1}},
            )
            await bare.wait(lambda reply: reply.get("id") == 60)
            ids = [reply["id"] for reply in bare.replies if "id" in reply]
            self.assertEqual(ids, list(range(1, 60)))
            self.assertEqual([await bare.publication() for _ in range(57)], list(range(3, 60)))

    async def test_pings_come_and_a_pong_keeps_the_connection(self):
        async with self.bare() as bare:
            await bare.ask(connect={})
            while bare.pings < 3:
                await bare.receive()
            reply = await bare.ask(rpc={"method": "echo", "data": bare.data([1])})
            self.assertEqual(bare.value(reply["rpc"]["data"]), [1])

    async def test_whole_numbers_of_others_keep_their_worth(self):
        values = [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1, 0, -1]
        name = channel("plain")
        kits = [kit for kit in (Json, Protobuf, MessagePack) if kit.name not in LACKS]
        async with self.bare() as listener:
            await listener.ask(connect={})
            await listener.ask(subscribe={"channel": name})
            for kit in kits:
                async with self.bare(kit) as publisher:
                    await publisher.ask(connect={})
                    await publisher.ask(publish={"channel": name, "data": publisher.data(values)})
                self.assertEqual(await listener.publication(), values, kit.name)


class JsonRaw(Scenarios, unittest.IsolatedAsyncioTestCase):
    kit = Json


@needs("protobuf")
class ProtobufRaw(Scenarios, unittest.IsolatedAsyncioTestCase):
    kit = Protobuf


@needs("msgpack")
class MessagePackRaw(Scenarios, unittest.IsolatedAsyncioTestCase):
    kit = MessagePack


if __name__ == "__main__":
    unittest.main(verbosity=2)
