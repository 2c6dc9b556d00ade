// Publications, history and presence of channels.
import assert from 'node:assert/strict';
import { channel, collect, corecast, found, next, numbers, offset, refusal, token } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { connect, subscribe, raw, pack, unpack } = kit;
  const sent = ({ data }) => unpack(data).n;

  test('a publication is acknowledged, and arrives with its publisher', async (t) => {
    const name = channel();
    const [alice, bob] = await Promise.all([
      connect(t, { token: token('alice') }), connect(t, { token: token('bob') }),
    ]);
    const heard = await subscribe(bob, name);
    await subscribe(alice, name);
    const arrived = next(heard, 'publication');
    await alice.publish(name, pack({ text: 'h\u00e9llo \u{1f600}' }));
    const publication = await arrived;
    assert.deepEqual(unpack(publication.data), { text: 'h\u00e9llo \u{1f600}' });
    assert.equal(publication.info.user, 'alice');
    assert.ok(publication.info.client.length > 0);
    assert.equal(Number(publication.offset), 1);
  });

  test('publications arrive in the order they were sent', async (t) => {
    const name = channel();
    const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
    const heard = await subscribe(listener, name);
    await Promise.all(numbers(500).map((n) => publisher.publish(name, pack({ n }))));
    const publications = await heard.publications.reach(500);
    assert.deepEqual(publications.map(sent), numbers(500));
    assert.deepEqual(publications.map(offset), numbers(500, 1));
  });

  test('refusals have their codes', async (t) => {
    const sdk = await connect(t);
    for (const [name, code] of [[channel('nowhere'), 102], [channel('closed'), 103]]) {
      const subscription = sdk.newSubscription(name);
      const unsubscribed = next(subscription, 'unsubscribed');
      subscription.subscribe();
      assert.equal((await unsubscribed).code, code, name);
      assert.equal((await refusal(sdk.publish(name, pack({})))).code, code, name);
      assert.equal((await refusal(sdk.history(name, { limit: 1 }))).code, code, name);
      assert.equal((await refusal(sdk.presence(name))).code, code, name);
    }
    const plain = channel('plain');
    assert.equal((await refusal(sdk.history(plain, { limit: 1 }))).code, 108);
    assert.equal((await refusal(sdk.presence(plain))).code, 108);
    assert.equal((await refusal(sdk.presenceStats(plain))).code, 108);
  });

  test('what subscribers may do is refused to others', async (t) => {
    const sdk = await connect(t);
    const name = channel('members');
    assert.equal((await refusal(sdk.publish(name, pack({})))).code, 103);
    assert.equal((await refusal(sdk.history(name, { limit: 1 }))).code, 103);
    const room = await subscribe(sdk, name);
    await room.publish(pack({ n: 0 }));
    await room.publications.reach(1);
    assert.equal((await room.history({ limit: 10 })).publications.length, 1);
  });

  test('history goes by limit, position and direction', async (t) => {
    const sdk = await connect(t);
    const name = channel();
    for (const n of numbers(10, 1)) await sdk.publish(name, pack({ n }));

    const position = await sdk.history(name, { limit: 0 });
    assert.deepEqual([offset(position), position.publications], [10, []]);
    const read = async (options) =>
      (await sdk.history(name, options)).publications.map((publication) => {
        assert.equal(sent(publication), offset(publication));
        return offset(publication);
      });
    const since = (after) => ({ offset: after, epoch: position.epoch });
    assert.deepEqual(await read({ limit: -1 }), numbers(10, 1));
    assert.deepEqual(await read({ limit: 3 }), [1, 2, 3]);
    assert.deepEqual(await read({ limit: 3, reverse: true }), [10, 9, 8]);
    assert.deepEqual(await read({ limit: 3, since: since(4) }), [5, 6, 7]);
    assert.deepEqual(await read({ limit: 3, since: since(4), reverse: true }), [3, 2, 1]);
    assert.deepEqual(await read({ limit: -1, since: since(10) }), []);
    const strange = sdk.history(name, { limit: 1, since: { offset: 4, epoch: 'another' } });
    assert.equal((await refusal(strange)).code, 112);
  });

  test('presence, and joins and leaves', async (t) => {
    const name = channel();
    const [alice, bob] = await Promise.all([
      connect(t, { token: token('alice') }), connect(t, { token: token('bob') }),
    ]);
    const room = await subscribe(alice, name);
    const joins = collect(room, 'join', ({ info }) => info.user);
    const leaves = collect(room, 'leave', ({ info }) => info.user);
    await subscribe(bob, name);
    await found(joins, (user) => user === 'bob');
    const { clients } = await room.presence();
    assert.deepEqual(Object.values(clients).map(({ user }) => user).sort(), ['alice', 'bob']);
    for (const [id, info] of Object.entries(clients)) assert.equal(info.client, id);
    assert.deepEqual(await room.presenceStats(), { numClients: 2, numUsers: 2 });

    bob.kill();
    bob.hold(); // what the network took away leaves as well
    assert.deepEqual(await leaves.reach(1), ['bob']);
    assert.deepEqual(await room.presenceStats(), { numClients: 1, numUsers: 1 });
  });

  test('publisher, home and subscriber on three workers keep the order', async (t) => {
    const connections = await Promise.all(numbers(24).map(() => connect(t)));
    const where = async (sdk, name) =>
      (corecast ? unpack((await sdk.rpc('where', pack({ channel: name }))).data) : { worker: sdk, home: null });
    if (corecast) {
      const workers = new Set();
      for (const sdk of connections) workers.add((await where(sdk, 'chat:x')).worker);
      for (let more = 0; workers.size < 4 && more < 100; more += 1) {
        const sdk = await connect(t);
        connections.push(sdk);
        workers.add((await where(sdk, 'chat:x')).worker);
      }
      assert.equal(workers.size, 4, 'connections do not reach every worker');
    }
    for (const name of numbers(8).map(() => channel())) {
      const places = await Promise.all(connections.map(async (sdk) => ({ sdk, ...await where(sdk, name) })));
      const publisher = places.find(({ worker, home }) => worker !== home);
      const listeners = places.filter(({ worker, home }) => worker !== home && worker !== publisher.worker);
      assert.ok(listeners.length > 0);
      const rooms = await Promise.all(listeners.slice(0, 8).map(({ sdk }) => subscribe(sdk, name)));
      await Promise.all(numbers(100).map((n) => publisher.sdk.publish(name, pack({ n }))));
      for (const room of rooms) {
        const publications = await room.publications.reach(100);
        assert.deepEqual(publications.map(sent), numbers(100));
        assert.deepEqual(publications.map(offset), numbers(100, 1));
      }
    }
  });

  test('unsubscribed and subscribed again, a subscription goes on', async (t) => {
    const [sdk, publisher] = await Promise.all([connect(t), connect(t)]);
    const name = channel();
    const room = await subscribe(sdk, name);
    for (const n of numbers(5)) {
      await publisher.publish(name, pack({ n }));
      await room.publications.reach(n + 1);
      const unsubscribed = next(room, 'unsubscribed');
      room.unsubscribe();
      assert.equal((await unsubscribed).code, 0);
      room.subscribe();
      await room.ready(5_000);
    }
    assert.deepEqual(room.publications.seen.map(sent), numbers(5));
  });

  test('big publications arrive whole, live, recovered and from history', async (t) => {
    const [sdk, publisher] = await Promise.all([connect(t), connect(t)]);
    const name = channel();
    const room = await subscribe(sdk, name);
    const text = numbers(6_000).map((n) => `${n} \u00e9`).join(' ').slice(0, 50_000);
    for (const n of numbers(4)) await publisher.publish(name, pack({ n, text }));
    sdk.hold();
    await room.publications.reach(4);
    sdk.kill();
    await next(sdk, 'connecting');
    for (const n of numbers(4, 4)) await publisher.publish(name, pack({ n, text }));
    sdk.release();
    const publications = await room.publications.reach(8);
    assert.deepEqual(publications.map(({ data }) => unpack(data)), numbers(8).map((n) => ({ n, text })));
    const kept = (await room.history({ limit: -1 })).publications;
    assert.deepEqual(kept.map(({ data }) => unpack(data)), numbers(8).map((n) => ({ n, text })));
  });
}
