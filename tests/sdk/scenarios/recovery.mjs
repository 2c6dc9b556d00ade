// Connections that are cut, and what comes back with the next one.
import assert from 'node:assert/strict';
import { channel, collect, next, numbers, offset } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { connect, subscribe, pack, unpack } = kit;
  const sent = ({ data }) => unpack(data).n;

  test('killed again and again, a subscriber recovers all, in order, once', async (t) => {
    const name = channel();
    const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
    const heard = await subscribe(listener, name);
    let n = 0;
    const publish = async (count) => {
      for (const _ of numbers(count)) await publisher.publish(name, pack({ n: n++ }));
    };
    for (const away of [50, 0, 200]) {
      await publish(10);
      await heard.publications.reach(n);
      listener.hold();
      listener.kill();
      await next(listener, 'connecting');
      await publish(away);
      const back = next(heard, 'subscribed');
      listener.release();
      const answer = await back;
      assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
      assert.equal(answer.hasRecoveredPublications, away > 0);
    }
    await publish(10);
    const publications = await heard.publications.reach(n);
    assert.deepEqual(publications.map(sent), numbers(n));
    assert.deepEqual(publications.map(offset), numbers(n, 1));
  });

  test('recovery during live publications loses and repeats nothing', async (t) => {
    const name = channel();
    const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
    const heard = await subscribe(listener, name);
    let recovered = 0;
    heard.on('subscribed', (answer) => {
      assert.equal(answer.recovered, true);
      recovered += 1;
    });
    for (const n of numbers(600)) {
      await publisher.publish(name, pack({ n }));
      if (n % 100 === 50) listener.kill();
    }
    assert.deepEqual((await heard.publications.reach(600)).map(sent), numbers(600));
    assert.ok(recovered > 0, 'never recovered');
  });

  test('who leaves as he is subscribed goes on where he was, and loses nothing', async (t) => {
    const [publisher, sdk] = await Promise.all([connect(t), connect(t)]);
    const name = channel();
    for (const n of numbers(7)) await publisher.publish(name, pack({ n }));
    const { epoch } = await publisher.history(name, { limit: 0 });
    const room = sdk.newSubscription(name, { since: { offset: 2, epoch } });
    const heard = collect(room, 'publication');
    const positions = [];
    room.on('subscribed', (answer) => {
      assert.equal(answer.recovered, true);
      positions.push(offset(answer.streamPosition));
      // What the answer brings is not delivered yet, and SDKs drop it now.
      if (positions.length === 1) room.unsubscribe();
    });
    const left = next(room, 'unsubscribed');
    room.subscribe();
    await left;
    const before = heard.seen.length;
    room.subscribe();
    await heard.reach(5);
    assert.deepEqual(positions, [2, 2 + before]);
    assert.deepEqual(heard.seen.map(sent), numbers(5, 2));
    assert.deepEqual(heard.seen.map(offset), numbers(5, 3));
  });

  test('a position without an epoch is of whatever epoch the channel has', async (t) => {
    const sdk = await connect(t);
    const name = channel();
    for (const n of numbers(4)) await sdk.publish(name, pack({ n }));
    const from = (place) => subscribe(sdk, name, { since: { offset: place, epoch: '' } });
    for (const [place, recovered] of [[1, true], [4, true], [5, false]]) {
      const room = await from(place);
      assert.deepEqual([room.answer.wasRecovering, room.answer.recovered], [true, recovered]);
      assert.equal(offset(room.answer.streamPosition), Math.min(place, 4));
      const missed = numbers(Math.max(4 - place, 0), place);
      assert.deepEqual((await room.publications.reach(missed.length)).map(sent), missed);
      room.unsubscribe();
      sdk.removeSubscription(room);
    }
    const fresh = await subscribe(sdk, channel(), { since: { offset: 0, epoch: '' } });
    assert.deepEqual([fresh.answer.wasRecovering, fresh.answer.recovered], [true, true]);
  });

  test('a position of another epoch is plainly not recovered', async (t) => {
    const sdk = await connect(t);
    const name = channel();
    await sdk.publish(name, pack({ n: 0 }));
    const room = await subscribe(sdk, name, { since: { offset: 0, epoch: 'another' } });
    assert.deepEqual([room.answer.wasRecovering, room.answer.recovered], [true, false]);
    assert.deepEqual(room.publications.seen, []);
  });

  test('128 subscriptions come back from one kill', async (t) => {
    const [publisher, listener] = await Promise.all([connect(t), connect(t)]);
    const rooms = await Promise.all(numbers(128).map(() => subscribe(listener, channel())));
    const over = listener.newSubscription(channel());
    const refused = next(over, 'unsubscribed');
    over.subscribe();
    assert.equal((await refused).code, 106);

    listener.hold();
    listener.kill();
    await next(listener, 'connecting');
    await Promise.all(rooms.map((room, n) => publisher.publish(room.channel, pack({ n }))));
    const back = rooms.map((room) => next(room, 'subscribed'));
    listener.release();
    for (const answer of await Promise.all(back)) {
      assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
    }
    for (const [n, room] of rooms.entries()) {
      assert.deepEqual((await room.publications.reach(1)).map(sent), [n]);
    }
  });

  test('getState is asked again where nothing can be recovered', async (t) => {
    const sdk = await connect(t);
    const name = channel();
    await sdk.publish(name, pack({ n: 1 }));
    let asked = 0;
    const room = await subscribe(sdk, name, {
      minResubscribeDelay: 20,
      maxResubscribeDelay: 50,
      getState: async () => {
        asked += 1;
        const { epoch, ...top } = await sdk.history(name, { limit: 0 });
        return { offset: offset(top), epoch: asked === 1 ? 'another' : epoch };
      },
    });
    // Told that nothing was recovered, the application would go on with the first state.
    assert.deepEqual([asked, room.answer.wasRecovering, room.answer.recovered], [2, true, true]);
  });
}
