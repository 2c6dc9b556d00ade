// What a backend does to connections: subscriptions of the server's making, disconnects, refreshes.
import assert from 'node:assert/strict';
import { api, channel, collect, next, numbers, offset, token } from '../helpers.mjs';
import { randomUUID } from 'node:crypto';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { client, connect, subscribe, raw, pack, unpack } = kit;
  const sent = ({ data }) => unpack(data).n;

  test('a call publishes, with tags', { needs: ['api'] }, async (t) => {
    const name = channel();
    const room = await subscribe(await connect(t), name);
    const data = { n: 1, lines: ['a\nb', {}] };
    const { offset: place } = await api('publish', { channel: name, data, tags: { a: 'b', c: '' } });
    assert.equal(place, 1);
    const [publication] = await room.publications.reach(1);
    assert.deepEqual(unpack(publication.data), data);
    assert.deepEqual({ ...publication.tags }, { a: 'b', c: '' });
  });

  test('a publication that is no newer than the last is dropped', { needs: ['api'] }, async (t) => {
    const name = channel();
    const room = await subscribe(await connect(t), name);
    // Number, epoch, and where the channel stands then.
    const table = [[5, '', 1], [5, '', 1], [4, '', 1], [6, '', 2], [1, 'b', 3], [1, '', 3], [2, 'b', 4], [0, '', 5], [1, 'b', 6]];
    for (const [version, epoch, place] of table) {
      const data = { n: place };
      const answer = await api('publish', { channel: name, data, version, version_epoch: epoch });
      assert.equal(answer.offset, place, `${version} ${epoch}`);
    }
    assert.deepEqual((await room.publications.reach(6)).map(sent), numbers(6, 1));
    assert.equal((await room.history({ limit: 100 })).publications.length, 6);
  });

  test("channels of a token are subscribed at connect, and recover", { needs: ['server subscriptions'] }, async (t) => {
    const [first, second] = [channel(), channel('plain')];
    const publisher = await connect(t);
    const sdk = client(t, { token: token('alice', { channels: [first, second] }) });
    const subscribed = collect(sdk, 'subscribed');
    const heard = collect(sdk, 'publication');
    sdk.connect();
    await subscribed.reach(2);
    assert.deepEqual(subscribed.seen.map((each) => each.channel).sort(), [first, second].sort());

    for (const n of numbers(3)) await publisher.publish(first, pack({ n }));
    await publisher.publish(second, pack({ n: 'plain' }));
    await heard.reach(4);
    sdk.hold();
    sdk.kill();
    await next(sdk, 'connecting');
    for (const n of numbers(3, 3)) await publisher.publish(first, pack({ n }));
    sdk.release();
    await subscribed.reach(4);
    const answer = subscribed.seen.slice(2).find((each) => each.channel === first);
    assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
    await publisher.publish(first, pack({ n: 6 }));
    await heard.reach(8);
    const inFirst = heard.seen.filter((each) => each.channel === first);
    assert.deepEqual(inFirst.map(sent), numbers(7));
    assert.deepEqual(inFirst.map(offset), numbers(7, 1));
  });

  test('the connect reply says from where each of its subscriptions recovered', { needs: ['server subscriptions'] }, async (t) => {
    const publisher = await connect(t);
    const [missed, level, foreign] = [channel(), channel(), channel()];
    const epochs = {};
    for (const name of [missed, level, foreign]) {
      for (const n of numbers(5)) await publisher.publish(name, pack({ n }));
      epochs[name] = (await publisher.history(name, { limit: 0 })).epoch;
    }
    const since = (name, from, epoch) => ({ [name]: { recover: true, offset: from, epoch } });
    const connection = await raw(t);
    const { connect: { subs } } = await connection.ask({
      connect: {
        token: token('alice', { channels: [missed, level, foreign] }),
        subs: {
          ...since(missed, 3, epochs[missed]), ...since(level, 5, epochs[level]), ...since(foreign, 3, 'another'),
        },
      },
    });
    const told = ({ recovered = false, publications = [], ...answer }) =>
      [recovered, offset(answer), publications.map(offset)];
    assert.deepEqual(told(subs[missed]), [true, 3, [4, 5]]);
    assert.deepEqual(told(subs[level]), [true, 5, []]);
    assert.deepEqual(told(subs[foreign]), [false, 5, []]);
  });

  test('a call subscribes a user, and unsubscribes him', { needs: ['server subscriptions', 'api'] }, async (t) => {
    const name = channel();
    const user = randomUUID();
    const [sdk, publisher] = await Promise.all([connect(t, { token: token(user) }), connect(t)]);
    const heard = collect(sdk, 'publication');
    const subscribed = next(sdk, 'subscribed');
    await api('subscribe', { user, channel: name, data: { why: 'call' } });
    const answer = await subscribed;
    assert.equal(answer.channel, name);
    assert.deepEqual(unpack(answer.data), { why: 'call' });
    await publisher.publish(name, pack({ n: 1 }));
    await heard.reach(1);
    assert.deepEqual(heard.seen.map(sent), [1]);

    const unsubscribed = next(sdk, 'unsubscribed');
    await api('unsubscribe', { user, channel: name });
    assert.equal((await unsubscribed).channel, name);
    await publisher.publish(name, pack({ n: 2 }));
    await sdk.rpc('ping', pack({}));
    assert.deepEqual(heard.seen.map(sent), [1]);
  });

  test('a call ends a subscription that the client made, with 2000', { needs: ['server subscriptions', 'api'] }, async (t) => {
    const name = channel();
    const user = randomUUID();
    const room = await subscribe(await connect(t, { token: token(user) }), name);
    const unsubscribed = next(room, 'unsubscribed');
    await api('unsubscribe', { user, channel: name });
    assert.equal((await unsubscribed).code, 2000);
  });

  test('a call disconnects a user for good, or lets him come back', { needs: ['api'] }, async (t) => {
    const user = randomUUID();
    const [first, second, other] = await Promise.all([
      connect(t, { token: token(user) }), connect(t, { token: token(user) }), connect(t, { token: token('other') }),
    ]);
    const back = next(first, 'connecting');
    await api('disconnect', { user, client: first._client, disconnect: { code: 4001, reason: 'mine' } });
    assert.equal((await back).code, 4001);
    await next(first, 'connected');
    const ends = [first, second].map((sdk) => next(sdk, 'disconnected'));
    await api('disconnect', { user });
    assert.deepEqual((await Promise.all(ends)).map(({ code }) => code), [3503, 3503]);
    await other.rpc('ping', pack({}));
  });

  test('a call renews a connection, and another ends it with 3005', { needs: ['refresh', 'api'] }, async (t) => {
    const user = randomUUID();
    const connection = await raw(t);
    await connection.ask({ connect: { token: token(user, { expires_s: 2 }) } });
    await api('refresh', { user, expire_at: Math.floor(Date.now() / 1000) + 100 });
    const { push } = await connection.push('refresh');
    assert.equal(push.refresh.expires, true);
    assert.ok(push.refresh.ttl > 90);
    await api('refresh', { user, expired: true });
    assert.equal(await connection.close(), 3005);
  });
}
