// Tokens of connections and subscriptions: what they say, how they are renewed, how they end.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { api, channel, collect, found, next, numbers, token } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { client, connect, subscribe, raw, pack, unpack } = kit;

  test("a token's info is seen by others", { needs: ['token info'] }, async (t) => {
    const name = channel();
    const watcher = await connect(t);
    const room = await subscribe(watcher, name);
    const joins = collect(room, 'join', ({ info }) => info);
    const alice = await connect(t, { token: token('alice', { info: { name: 'Alice \u00e9' } }) });
    await subscribe(alice, name);
    const joined = await found(joins, ({ user }) => user === 'alice');
    assert.deepEqual(unpack(joined.connInfo), { name: 'Alice \u00e9' });
    const present = Object.values((await room.presence()).clients).find(({ user }) => user === 'alice');
    assert.deepEqual(unpack(present.connInfo), { name: 'Alice \u00e9' });
    await alice.publish(name, pack({ n: 1 }));
    const [publication] = await room.publications.reach(1);
    assert.deepEqual(unpack(publication.info.connInfo), { name: 'Alice \u00e9' });
  });

  test('a connection is refreshed before its token ends, and stays', { needs: ['refresh'] }, async (t) => {
    let asked = 0;
    const sdk = client(t, {
      getToken: async () => {
        asked += 1;
        return token('alice', { expires_s: asked < 3 ? 2 : 300 });
      },
    });
    const reconnects = collect(sdk, 'connecting');
    sdk.connect();
    await next(sdk, 'connected');
    const enough = new Promise((resolve) => {
      const timer = setInterval(() => {
        if (asked < 3) return;
        clearInterval(timer);
        resolve();
      }, 50);
    });
    await Promise.race([enough, next(sdk, 'disconnected', 15_000).then(() => assert.fail('disconnected'))]);
    await sdk.rpc('ping', pack({}));
    assert.equal(reconnects.seen.length, 1);
  });

  test('a new token changes the subscriptions', { needs: ['changed channels', 'api'] }, async (t) => {
    const publisher = await connect(t);
    const user = channel('user');
    const [left, kept, begun] = numbers(3).map(() => channel());
    let asked = 0;
    const sdk = client(t, {
      getToken: async () => {
        asked += 1;
        if (asked === 1) return token(user, { expires_s: 2, channels: [left, kept] });
        return token(user, { channels: [kept, begun] });
      },
    });
    const name = (event) => event.channel;
    const [subscribed, unsubscribed] = ['subscribed', 'unsubscribed'].map((event) => collect(sdk, event, name));
    const heard = collect(sdk, 'publication', name);
    const connecting = collect(sdk, 'connecting');
    sdk.connect();
    assert.deepEqual(await unsubscribed.reach(1), [left]);
    assert.equal((await subscribed.reach(3))[2], begun);
    for (const each of [left, kept, begun]) await publisher.publish(each, pack({ n: 0 }));
    await heard.reach(2);
    const ended = next(sdk, 'disconnected');
    await api('disconnect', { user });
    await ended;
    assert.deepEqual([...heard.seen].sort(), [kept, begun].sort());
    assert.equal(connecting.seen.length, 1);
  });

  test('a connection whose token is not renewed is 3005', { needs: ['refresh'] }, async (t) => {
    const connection = await raw(t);
    const { connect: answer } =
      await connection.ask({ connect: { token: token('alice', { expires_s: 1 }) } });
    assert.deepEqual([answer.expires, answer.ttl], [true, 1]);
    const start = Date.now();
    assert.equal(await connection.close(40_000), 3005);
    assert.ok(Date.now() - start > 20_000, 'closed before the time that a renewal may take');
  });

  test('a connection without a token may show one', { needs: ['refresh'] }, async (t) => {
    const connection = await raw(t);
    await connection.ask({ connect: {} });
    const { refresh } = await connection.ask({ refresh: { token: token('', { expires_s: 100 }) } });
    assert.equal(refresh.expires, true);
    assert.ok(refresh.ttl > 90, refresh.ttl);
  });

  for (const [what, options, code] of [
    ['an expired', { expires_s: -60 }, 3005],
    ['a forged', { key: 'another-secret-another-secret-123' }, 3500],
  ]) {
    test(`a refresh with ${what} token is ${code}`, { needs: ['refresh'] }, async (t) => {
      const connection = await raw(t);
      await connection.ask({ connect: { token: token('alice') } });
      connection.send({ id: 2, refresh: { token: token('alice', options) } });
      assert.equal(await connection.close(), code);
    });
  }

  test('a subscription token opens what is closed, and its info is seen', { needs: ['subscription tokens'] }, async (t) => {
    const name = channel('closed');
    const alice = await connect(t, { token: token('alice') });
    const room = await subscribe(alice, name, {
      token: token('alice', { channel: name, info: { seat: 7 } }),
    });
    const joins = collect(room, 'join', ({ info }) => info);
    const bob = await connect(t, { token: token('bob') });
    await subscribe(bob, name, { getToken: async () => token('bob', { channel: name, info: { seat: 8 } }) });
    const joined = await found(joins, ({ user }) => user === 'bob');
    assert.deepEqual(unpack(joined.chanInfo), { seat: 8 });
  });

  for (const [what, made, code] of [
    ['a forged', (name) => token('alice', { channel: name, key: 'another-secret-another-secret-123' }), 103],
    ['an expired', (name) => token('alice', { channel: name, expires_s: -60 }), 109],
    ["another channel's", () => token('alice', { channel: 'closed:another' }), 103],
    ["another user's", (name) => token('bob', { channel: name }), 103],
  ]) {
    test(`a subscribe with ${what} token is ${code}`, { needs: ['subscription tokens'] }, async (t) => {
      const connection = await raw(t);
      const name = channel('closed');
      await connection.ask({ connect: { token: token('alice') } });
      const { error } = await connection.ask({ subscribe: { channel: name, token: made(name) } });
      assert.equal(error?.code, code);
    });
  }

  test('a subscription is refreshed before its token ends, and stays', { needs: ['subscription tokens'] }, async (t) => {
    const name = channel('closed');
    const alice = await connect(t, { token: token('alice') });
    let asked = 0;
    const third = new Promise((resolve) => {
      t.room = alice.newSubscription(name, {
        getToken: async () => {
          asked += 1;
          if (asked === 3) resolve();
          return token('alice', { channel: name, expires_s: asked < 3 ? 2 : 300 });
        },
      });
    });
    const subscribing = collect(t.room, 'subscribing');
    t.room.subscribe();
    await t.room.ready(5_000);
    await third;
    await alice.rpc('ping', pack({}));
    assert.equal(t.room.state, 'subscribed');
    assert.equal(subscribing.seen.length, 1);
  });

  // 109 to a sub_refresh must not be the end: the next token is good. The SDK asks for it after 10
  // to 20 s, which what the first gave outlasts.
  test('an expired token in between ends no subscription', { needs: ['api'] }, async (t) => {
    const name = channel('closed');
    const alice = await connect(t, { token: token('alice') });
    const lasts = [2, -3, 600];
    let asked = 0;
    const room = alice.newSubscription(name, {
      getToken: async () => {
        asked += 1;
        return token('alice', { channel: name, expires_s: lasts[Math.min(asked, lasts.length) - 1] });
      },
    });
    const publications = collect(room, 'publication', ({ data }) => unpack(data).n);
    room.subscribe();
    await room.ready(5_000);
    let published = 0;
    const publish = async () => {
      await api('publish', { channel: name, data: { n: published } });
      published += 1;
    };
    const latest = Date.now() + 45_000;
    for (let beat = 0; asked < 3 || room.state !== 'subscribed'; beat += 1) {
      assert.notEqual(room.state, 'unsubscribed');
      assert.ok(Date.now() < latest, `asked for ${asked} tokens`);
      if (beat % 20 === 0) await publish();
      await sleep(50);
    }
    await publish();
    assert.deepEqual(await publications.reach(published), numbers(published));
  });

  test('a subscription whose token is not renewed is 2501', { needs: ['subscription tokens'] }, async (t) => {
    const name = channel('closed');
    const connection = await raw(t);
    await connection.ask({ connect: { token: token('alice') } });
    const { subscribe: answer } = await connection.ask({
      subscribe: { channel: name, token: token('alice', { channel: name, expires_s: 1 }) },
    });
    assert.deepEqual([answer.expires, answer.ttl], [true, 1]);
    const { push } = await connection.push('unsubscribe', 40_000);
    assert.deepEqual([push.channel, push.unsubscribe.code], [name, 2501]);
  });
}
