// Recovery mode `cache`: who subscribes is given the last publication, unless it has it. The namespace
// also asks SDKs to leave 250 ms between two publications.
import assert from 'node:assert/strict';
import { channel, next, numbers, offset } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { connect, subscribe, raw, pack, unpack } = kit;
  const sent = ({ data }) => unpack(data).n;

  test('a cache gives its last publication to whoever subscribes', async (t) => {
    const name = channel('cache');
    const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
    for (const n of numbers(3, 1)) await publisher.publish(name, pack({ n }));
    const room = await subscribe(listener, name);
    assert.deepEqual([room.answer.wasRecovering, room.answer.recovered], [true, true]);
    assert.deepEqual((await room.publications.reach(1)).map(sent), [3]);
    await publisher.publish(name, pack({ n: 4 }));
    await room.publications.reach(2);
    for (const last of [4, 7]) {
      listener.hold();
      listener.kill();
      await next(listener, 'connecting');
      // What was missed in between is not recovered, nor what the subscriber has.
      for (let n = 5; n <= last; n += 1) await publisher.publish(name, pack({ n }));
      const back = next(room, 'subscribed');
      listener.release();
      const { wasRecovering, recovered } = await back;
      assert.deepEqual([wasRecovering, recovered], [true, true]);
    }
    await publisher.publish(name, pack({ n: 8 }));
    const publications = await room.publications.reach(4);
    assert.deepEqual(publications.map(sent), [3, 4, 7, 8]);
    assert.deepEqual(publications.map(offset), [3, 4, 7, 8]);
  });

  test('an empty cache recovers nothing, and a filter finds the last that passes', async (t) => {
    const name = channel('cache');
    const [publisher, other] = await Promise.all([raw(t), raw(t)]);
    for (const connection of [publisher, other]) assert.ok((await connection.ask({ connect: {} })).connect);
    const empty = (await publisher.ask({ subscribe: { channel: name } })).subscribe;
    assert.deepEqual([empty.was_recovering, Boolean(empty.recovered), empty.publications?.length ?? 0], [true, false, 0]);
    await publisher.ask({ publish: { channel: name, data: pack({ n: 1 }) } });
    const tf = (cmp) => ({ key: 'a', cmp });
    const all = (await other.ask({ subscribe: { channel: name, tf: tf('nex') } })).subscribe;
    assert.deepEqual([all.recovered, all.publications.map(sent)], [true, [1]]);
    await other.ask({ unsubscribe: { channel: name } });
    const none = (await other.ask({ subscribe: { channel: name, tf: tf('ex') } })).subscribe;
    assert.deepEqual([Boolean(none.recovered), none.publications?.length ?? 0], [false, 0]);
  });

  test('an SDK leaves the time between two publications that it is told', async (t) => {
    const name = channel('cache');
    const sdk = await connect(t);
    const room = await subscribe(sdk, name);
    // The first goes at once, the latest of the others when the time is over.
    const began = Date.now();
    await Promise.all(numbers(10).map((n) => room.publish(pack({ n }))));
    assert.deepEqual((await room.publications.reach(2)).map(sent), [0, 9]);
    assert.ok(Date.now() - began >= 200, 'it was debounced');
    const { subscribe: { publish_debounce: told } } = await (async () => {
      const connection = await raw(t);
      await connection.ask({ connect: {} });
      return connection.ask({ subscribe: { channel: name } });
    })();
    assert.equal(told, 250);
  });
}
