// Channel ids: what a subscription that asks for one is pushed names its channel by a number instead
// of by its name. The SDKs always ask.
import assert from 'node:assert/strict';
import { api, channel, collect, corecast, found, next, numbers, offset, token } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { client, connect, subscribe, raw, pack, unpack } = kit;
  const sent = ({ data }) => unpack(data).n;
  // In Protobuf npm's SDK compares numbers as objects, and would hear nothing: it is given none.
  const takesNumbers = kit.codec.name !== 'protobuf';
  /** How a push names its channel. */
  const named = ({ push: { id, channel: name } }) => (Number(id ?? 0) > 0 ? [Number(id), name ?? ''] : [0, name]);
  const own = async (t, user) => {
    const connection = await raw(t);
    assert.ok((await connection.ask({ connect: { token: token(user) } })).connect);
    return connection;
  };

  test('a channel has a number for who asks for one, and its name for others', async (t) => {
    const [first, second] = [channel(), channel()];
    const [asks, asksNot, other] = await Promise.all([own(t, 'ann'), own(t, 'bob'), own(t, 'cleo')]);
    const ids = [];
    for (const name of [first, second]) {
      const { subscribe: { id } } = await asks.ask({ subscribe: { channel: name, flag: 1 } });
      ids.push(Number(id));
      assert.deepEqual(named(await asks.push('join')), [Number(id), ''], 'its own join');
      assert.equal(Number((await asksNot.ask({ subscribe: { channel: name } })).subscribe.id ?? 0), 0);
      assert.deepEqual(named(await asks.push('join')), [Number(id), '']);
    }
    assert.ok(ids.every((id) => id > 0) && ids[0] !== ids[1], `${ids}`);
    for (const [at, name] of [first, second].entries()) {
      await other.ask({ publish: { channel: name, data: pack({ n: at }) } });
      for (const [connection, expected] of [[asks, [ids[at], '']], [asksNot, [0, name]]]) {
        const pushed = await connection.push('pub');
        assert.deepEqual([named(pushed), sent(pushed.push.pub), offset(pushed.push.pub)], [expected, at, 1]);
      }
    }
    await asksNot.ask({ unsubscribe: { channel: first } });
    assert.deepEqual(named(await asks.push('leave')), [ids[0], '']);
  });

  test('what ends a subscription names it by its name, and the next has a number again', { needs: ['api'] }, async (t) => {
    const name = channel();
    const connection = await own(t, 'ann');
    for (const n of numbers(3)) {
      const { subscribe: { id } } = await connection.ask({ subscribe: { channel: name, flag: 1 } });
      assert.ok(Number(id) > 0);
      await api('publish', { channel: name, data: { n } });
      const pushed = await connection.push('pub');
      assert.deepEqual([named(pushed), sent(pushed.push.pub)], [[Number(id), ''], n]);
      await api('unsubscribe', { user: 'ann', channel: name });
      assert.deepEqual(named(await connection.push('unsubscribe')), [0, name]);
    }
  });

  test('subscriptions of the server are named by their names', { needs: ['server subscriptions'] }, async (t) => {
    const name = channel();
    const publisher = await connect(t);
    const connection = await raw(t);
    const { connect: { subs } } = await connection.ask({
      connect: { token: token('ann', { channels: [name] }), subs: { [name]: { flag: 1 } } },
    });
    assert.equal(Number(subs[name].id ?? 0), 0);
    await publisher.publish(name, pack({ n: 1 }));
    assert.deepEqual(named(await connection.push('pub')), [0, name]);
  });

  test('recovered and in deltas, an SDK hears all that was sent, by number where it can, on whatever worker', { needs: ['delta'] }, async (t) => {
    const [plain, deltas] = [channel(), channel('delta')];
    const publisher = await connect(t);
    const sdk = client(t);
    sdk.connect();
    await sdk.ready(10_000);
    const rooms = [await subscribe(sdk, plain), await subscribe(sdk, deltas, { delta: 'fossil' })];
    const joins = collect(rooms[0], 'join');
    const text = 'a text that stays the same from one to the next '.repeat(4);
    const publish = async (from) => {
      for (const n of numbers(4, from)) {
        for (const name of [plain, deltas]) await publisher.publish(name, pack({ n, text }));
      }
    };
    const where = async () => (corecast ? unpack((await sdk.rpc('where', pack({ channel: plain }))).data).worker : 0);
    const workers = new Set();
    let count = 0;
    for (let tries = 0; tries < 60 && workers.size < (corecast ? 2 : 1); tries += 1) {
      workers.add(await where());
      const ids = rooms.map((room) => Number(room._id));
      if (takesNumbers) assert.ok(ids.every((id) => id > 0) && ids[0] !== ids[1], `${ids}`);
      else assert.deepEqual(ids, [0, 0]);
      await publish(count);
      for (const room of rooms) await room.publications.reach(count + 4);
      sdk.hold();
      sdk.kill();
      await next(sdk, 'connecting');
      await publish(count + 4);
      const back = Promise.all(rooms.map((room) => next(room, 'subscribed')));
      sdk.release();
      for (const answer of await back) assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
      count += 8;
      for (const room of rooms) assert.deepEqual((await room.publications.reach(count)).map(sent), numbers(count));
    }
    assert.ok(workers.size > 1 || !corecast, 'it never came to another worker');
    const user = `late-${plain}`;
    await subscribe(await connect(t, { token: token(user) }), plain);
    await found(joins, ({ info }) => info.user === user);
  });
}
