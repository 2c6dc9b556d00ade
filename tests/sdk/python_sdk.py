"""What an application does with the unmodified PyPI `centrifuge-python` SDK, in every codec.

Runs against Corecast and against the oracle; SDK_URL and SDK_SECRET name the server. With the
name of a class (JsonSdk, say) that codec alone.
"""

import asyncio
import contextlib
import time
import unittest

from centrifuge import (
    CentrifugeError,
    ClientState,
    DeltaType,
    Filter,
    StreamPosition,
    SubscriptionState,
)
from python_kit import (
    ORACLE,
    SERVERS,
    URL,
    ClientEvents,
    Json,
    MessagePack,
    Protobuf,
    RoomEvents,
    Wire,
    api,
    channel,
    needs,
    token,
)

# How often what README's section on order promises is done on each server.
ROUNDS = 40


class Scenarios:
    """The table; `kit` says in which codec."""

    def client(self, url=URL, **options):
        client = self.kit.sdk(
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

    def sent(self, publications):
        return [self.kit.unpack(pub.data)["n"] for pub in publications]

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
        await asyncio.gather(*(alice.publish(room.channel, self.kit.pack({"n": n})) for n in range(200)))
        seen = await room.seen.reach("publication", 200)
        self.assertEqual(self.sent(seen), list(range(200)))
        self.assertEqual([pub.offset for pub in seen], list(range(1, 201)))
        self.assertEqual({pub.info.user for pub in seen}, {"alice"})

    async def test_refusals_have_their_codes(self):
        client = await self.connect()
        for name, code in ((channel("nowhere"), 102), (channel("closed"), 103)):
            room = client.new_subscription(name, events=RoomEvents())
            await room.subscribe()
            self.assertEqual(await room.events.reach("unsubscribed", 1), [code])
            with self.refused(code):
                await client.publish(name, self.kit.pack({}))
        plain = channel("plain")
        for ask in (client.history, client.presence, client.presence_stats):
            with self.refused(108):
                await ask(plain)
        with self.refused(103):
            await client.publish(channel("members"), self.kit.pack({}))

    async def test_history(self):
        client = await self.connect()
        name = channel()
        for n in range(1, 8):
            await client.publish(name, self.kit.pack({"n": n}))
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
        for count in (1, 2):
            if "bob" not in room.seen["join"]:
                await room.seen.reach("join", count)
        self.assertIn("bob", room.seen["join"])
        users = [info.user for info in (await room.presence()).clients.values()]
        self.assertEqual(sorted(users), ["alice", "bob"])
        stats = await room.presence_stats()
        self.assertEqual((stats.num_clients, stats.num_users), (2, 2))
        await bob.disconnect()
        self.assertEqual(await room.seen.reach("leave", 1), ["bob"])

    async def test_rpc(self):
        client = await self.connect()
        await client.rpc("ping", self.kit.pack({}))
        data = {"text": "h\u00e9 \U0001f600 \u2028", "deep": [None, {"n": 1.5}]}
        self.assertEqual(self.kit.unpack((await client.rpc("echo", self.kit.pack(data))).data), data)
        with self.refused(104):
            await client.rpc("nothing-like-it", self.kit.pack({}))

    async def test_killed_again_and_again_a_subscriber_recovers_all(self):
        publisher = await self.connect()
        published = 0

        async def publish(count):
            nonlocal published
            for _ in range(count):
                await publisher.publish(room.channel, self.kit.pack({"n": published}))
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
        self.assertEqual(self.sent(seen), list(range(published)))
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
                *(publisher.publish(room.channel, self.kit.pack({"n": n})) for n, room in enumerate(rooms))
            )
            wire.open = True
            for n, room in enumerate(rooms):
                answer = (await room.seen.reach("subscribed", 2))[-1]
                self.assertTrue(answer.was_recovering and answer.recovered)
                seen = await room.seen.reach("publication", 1)
                self.assertEqual(self.sent(seen), [n])

    async def test_under_traffic_pings_keep_a_client_for_30_s(self):
        publisher = await self.connect()
        # One second more than the ping interval without a ping, and the SDK would reconnect.
        client = await self.connect(max_server_ping_delay=1)
        room = await self.subscribe(client, channel())
        start = time.monotonic()
        for n in range(300):
            await asyncio.sleep(max(0, start + n * 0.1 - time.monotonic()))
            await publisher.publish(room.channel, self.kit.pack({"n": n}))
        seen = await room.seen.reach("publication", 300)
        self.assertEqual(self.sent(seen), list(range(300)))
        self.assertEqual(client.events["connecting"], [0])

    async def test_unsubscribed_and_subscribed_again_a_subscription_goes_on(self):
        publisher = await self.connect()
        room = await self.subscribe(await self.connect(), channel())
        for n in range(5):
            await publisher.publish(room.channel, self.kit.pack({"n": n}))
            await room.seen.reach("publication", n + 1)
            await room.unsubscribe()
            await room.subscribe()
            await room.ready(10)
        self.assertEqual(self.sent(room.seen["publication"]), list(range(5)))
        self.assertEqual(room.seen["unsubscribed"], [0] * 5)

    async def test_big_publications_arrive_whole(self):
        publisher, listener = await self.connect(), await self.connect()
        room = await self.subscribe(listener, channel())
        values = [{"n": n, "text": "\u00e9 " * 6_000} for n in range(6)]
        for value in values:
            await publisher.publish(room.channel, self.kit.pack(value))
        seen = await room.seen.reach("publication", len(values))
        self.assertEqual([self.kit.unpack(pub.data) for pub in seen], values)
        kept = (await room.history(limit=-1)).publications
        self.assertEqual([self.kit.unpack(pub.data) for pub in kept], values)

    async def test_whole_numbers_keep_their_worth(self):
        client = await self.connect()
        values = [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1]
        room = await self.subscribe(client, channel())
        await client.publish(room.channel, self.kit.pack({"n": values}))
        seen = await room.seen.reach("publication", 1)
        self.assertEqual(self.sent(seen), [values])

    @needs("refresh")
    async def test_a_connection_is_refreshed_before_its_token_ends(self):
        asked = 0
        third = asyncio.Event()

        async def get_token():
            nonlocal asked
            asked += 1
            if asked == 3:
                third.set()
            return token("alice", expires_s=2 if asked < 3 else 300)

        client = await self.connect(get_token=get_token)
        await asyncio.wait_for(third.wait(), 15)
        await client.rpc("ping", self.kit.pack({}))
        self.assertEqual(client.events["connecting"], [0])

    @needs("subscription tokens")
    async def test_a_subscription_token_opens_what_is_closed(self):
        name = channel("closed")
        alice = await self.connect(token=token("alice"))
        forged = token("alice", channel=name, key="another-secret-another-secret-123")
        room = alice.new_subscription(name, events=RoomEvents(), token=forged)
        await room.subscribe()
        self.assertEqual(await room.events.reach("unsubscribed", 1), [103])
        bob = await self.connect(token=token("bob"))
        room = await self.subscribe(bob, name, token=token("bob", channel=name))
        self.assertEqual(room.state, SubscriptionState.SUBSCRIBED)

    @needs("api")
    async def test_an_expired_token_in_between_ends_no_subscription(self):
        name, lasts, asked = channel("closed"), [2, -3, 600], 0

        async def get_token(_):
            nonlocal asked
            asked += 1
            return token("alice", channel=name, expires_s=lasts[min(asked, len(lasts)) - 1])

        async def mended():
            while asked < 3 or room.state != SubscriptionState.SUBSCRIBED:
                self.assertEqual(room.seen["unsubscribed"], [])
                await asyncio.sleep(0.05)

        room = await self.subscribe(
            await self.connect(token=token("alice")), name, get_token=get_token
        )
        await api("publish", channel=name, data={"n": 0})
        await asyncio.wait_for(mended(), 45)
        await api("publish", channel=name, data={"n": 1})
        seen = await room.seen.reach("publication", 2)
        self.assertEqual(self.sent(seen), [0, 1])

    async def test_get_state_is_asked_again_where_nothing_can_be_recovered(self):
        client, name, asked = await self.connect(), channel(), 0
        await client.publish(name, self.kit.pack({"n": 0}))

        async def get_state(_):
            nonlocal asked
            asked += 1
            top = await client.history(name, limit=0)
            return StreamPosition(offset=top.offset, epoch="another" if asked == 1 else top.epoch)

        room = await self.subscribe(client, name, get_state=get_state)
        answer = room.seen["subscribed"][0]
        self.assertEqual((asked, answer.was_recovering, answer.recovered), (2, True, True))
        await client.publish(name, self.kit.pack({"n": 1}))
        self.assertEqual(self.sent(await room.seen.reach("publication", 1)), [1])

    @needs("changed channels", "api")
    async def test_a_new_token_changes_the_subscriptions(self):
        publisher, user, asked = await self.connect(), channel("user"), 0
        left, kept, begun = channel(), channel(), channel()

        async def get_token():
            nonlocal asked
            asked += 1
            if asked == 1:
                return token(user, expires_s=2, channels=[left, kept])
            return token(user, expires_s=600, channels=[kept, begun])

        client = await self.connect(get_token=get_token)
        unsubscribed = await client.events.reach("unsubscribed", 1)
        self.assertEqual([ctx.channel for ctx in unsubscribed], [left])
        subscribed = await client.events.reach("subscribed", 3)
        self.assertEqual(subscribed[2].channel, begun)
        for name in (left, kept, begun):
            await publisher.publish(name, self.kit.pack({"n": 0}))
        await client.events.reach("publication", 2)
        await api("disconnect", user=user)
        await client.events.reach("disconnected", 1)
        heard = {ctx.channel for ctx in client.events["publication"]}
        self.assertEqual(heard, {kept, begun})
        self.assertEqual(client.events["connecting"], [0])

    @needs("server subscriptions")
    async def test_channels_of_a_token_are_subscribed_at_connect_and_recover(self):
        name = channel()
        publisher = await self.connect()
        async with Wire() as wire:
            client = await self.connect(wire.url, token=token("alice", channels=[name]))
            answer = (await client.events.reach("subscribed", 1))[0]
            self.assertEqual(answer.channel, name)
            await publisher.publish(name, self.kit.pack({"n": 0}))
            await client.events.reach("publication", 1)
            wire.cut()
            await client.events.reach("connecting", 2)
            await publisher.publish(name, self.kit.pack({"n": 1}))
            wire.open = True
            answer = (await client.events.reach("subscribed", 2))[1]
            self.assertTrue(answer.was_recovering and answer.recovered)
            await publisher.publish(name, self.kit.pack({"n": 2}))
            seen = await client.events.reach("publication", 3)
        self.assertEqual(self.sent([ctx.pub for ctx in seen]), [0, 1, 2])

    @needs("server subscriptions", "api")
    async def test_a_call_subscribes_a_user_and_ends_it(self):
        name, user = channel(), channel("user")
        client = await self.connect(token=token(user))
        await api("subscribe", user=user, channel=name)
        await client.events.reach("subscribed", 1)
        await api("publish", channel=name, data={"n": 1})
        seen = await client.events.reach("publication", 1)
        self.assertEqual(self.sent([ctx.pub for ctx in seen]), [1])
        await api("unsubscribe", user=user, channel=name)
        await client.events.reach("unsubscribed", 1)
        await api("disconnect", user=user)
        self.assertEqual(await client.events.reach("disconnected", 1), [3503])

    @needs("filters", "api")
    async def test_a_filter_lets_through_what_it_says(self):
        name = channel("tagged")
        apple = Filter.all(Filter.eq("symbol", "AAPL"), Filter.gt("price", "100"))
        some = await self.subscribe(await self.connect(), name, tags_filter=apple)
        every = await self.subscribe(await self.connect(), name)
        for n in range(10):
            tags = {"symbol": "AAPL" if n % 2 else "MSFT", "price": str(60 + 10 * n)}
            await api("publish", channel=name, data={"n": n}, tags=tags)
        seen = await every.seen.reach("publication", 10)
        self.assertEqual(self.sent(seen), list(range(10)))
        seen = await some.seen.reach("publication", 3)
        self.assertEqual(self.sent(seen), [5, 7, 9])
        self.assertEqual(seen[0].tags, {"symbol": "AAPL", "price": "110"})

    @needs("delta")
    async def test_deltas_make_the_publications_that_were_sent(self):
        publisher = await self.connect()
        text = "The quick brown fox jumps over the lazy dog. " * 8
        # The oracle puts patches that are no UTF-8 into JSON, and the SDK cannot read them.
        letters = "abc" if ORACLE and self.kit is Json else "\u00e9\u00e8\u20ac\u20ad\U0001f600"
        values = [{"n": n, "text": text * (n % 3 + 1) + letter * 3} for n, letter in
                  enumerate(letters * 4)] + [{"n": "small"}, {"n": None, "text": text}]

        async def publish():
            for value in values:
                await publisher.publish(room.channel, self.kit.pack(value))

        async with Wire() as wire:
            client = await self.connect(wire.url)
            room = await self.subscribe(client, channel("delta"), delta=DeltaType.FOSSIL)
            await publish()
            await room.seen.reach("publication", len(values))
            wire.cut()
            await client.events.reach("connecting", 2)
            await publish()
            wire.open = True
            answer = (await room.seen.reach("subscribed", 2))[1]
            self.assertTrue(answer.was_recovering and answer.recovered)
            await publish()
            seen = await room.seen.reach("publication", 3 * len(values))
        made = [self.kit.unpack(pub.data) for pub in seen]
        self.assertEqual(made, values * 3)
        self.assertTrue(any(pub.delta for pub in seen))

    async def everywhere(self, scenario):
        """A scenario of order, with four workers and with one."""
        for server in SERVERS:
            await scenario(server)

    async def test_who_subscribes_may_publish_at_once(self):
        async def scenario(server):
            client = await self.connect(server)
            for _ in range(ROUNDS):
                room = client.new_subscription(channel("members"), events=RoomEvents())
                await room.subscribe()
                for n in range(3):
                    await client.publish(room.channel, self.kit.pack({"n": n}))
                seen = await room.events.reach("publication", 3)
                self.assertEqual(self.sent(seen), [0, 1, 2])
                await room.unsubscribe()
                client.remove_subscription(room)

        await self.everywhere(scenario)

    async def test_who_awaits_his_publication_and_leaves_has_heard_it(self):
        async def scenario(server):
            client = await self.connect(server)
            for n in range(ROUNDS):
                room = await self.subscribe(client, channel("members"))
                await room.publish(self.kit.pack({"n": n}))
                await room.unsubscribe()
                self.assertEqual(self.sent(room.seen["publication"]), [n])
                client.remove_subscription(room)

        await self.everywhere(scenario)

    @needs("server subscriptions", "api")
    async def test_whom_a_call_has_subscribed_may_publish(self):
        async def scenario(server):
            user = channel("user")
            client = await self.connect(server, token=token(user))
            for n in range(ROUNDS):
                name = channel("members")
                await api("subscribe", server, user=user, channel=name)
                await client.publish(name, self.kit.pack({"n": n}))
                seen = await client.events.reach("publication", n + 1)
                self.assertEqual(self.sent([seen[n].pub]), [n])

        await self.everywhere(scenario)

    @needs("server subscriptions", "api")
    async def test_calls_that_were_awaited_have_taken_effect(self):
        async def session(server, one_by_one):
            user, name = channel("user"), channel()
            clients = [await self.connect(server, token=token(user)) for _ in range(3)]
            whom = {"user": user, "channel": name}

            def publish(n):
                return {"publish": {"channel": name, "data": {"n": n}}}

            commands = [
                {"subscribe": whom},
                publish("in"),
                {"unsubscribe": whom},
                publish("out"),
                {"subscribe": whom},
                publish("farewell"),
                {"disconnect": {"user": user}},
            ]
            if one_by_one:
                for command in commands:
                    for method, body in command.items():
                        await api(method, server, **body)
            else:
                await api("batch", server, commands=commands)
            for client in clients:
                self.assertEqual(await client.events.reach("disconnected", 1), [3503])
                heard = self.sent([ctx.pub for ctx in client.events["publication"]])
                self.assertEqual(heard, ["in", "farewell"])

        async def scenario(server):
            for n in range(ROUNDS // 4):
                await asyncio.gather(*(session(server, way % 2) for way in range(4)))

        await self.everywhere(scenario)


class JsonSdk(Scenarios, unittest.IsolatedAsyncioTestCase):
    kit = Json


@needs("protobuf")
class ProtobufSdk(Scenarios, unittest.IsolatedAsyncioTestCase):
    kit = Protobuf


@needs("msgpack")
class MessagePackSdk(Scenarios, unittest.IsolatedAsyncioTestCase):
    kit = MessagePack


if __name__ == "__main__":
    unittest.main(verbosity=2)
