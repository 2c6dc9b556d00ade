// What no SDK sends: commands and replies of each codec through a bare WebSocket.
import assert from 'node:assert/strict';
import { channel, nodes, numbers, offset, token } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { raw, pack, unpack } = kit;

  test('a first command other than connect is 3501', async (t) => {
    const connection = await raw(t);
    connection.send({ id: 1, subscribe: { channel: 'plain:a' } });
    assert.equal(await connection.close(), 3501);
  });

  test('no connect command in time is 3502', async (t) => {
    assert.equal(await (await raw(t)).close(), 3502);
  });

  for (const [what, command] of [
    ['a command without a method', { id: 2 }],
    ['a subscribe with an unknown kind of delta', { id: 2, subscribe: { channel: 'plain:a', delta: 'x' } }],
    ['a command without an id', { rpc: { method: 'ping', data: pack({}) } }],
    ['a second connect', { id: 2, connect: {} }],
  ]) {
    test(`${what} is 3501`, async (t) => {
      const connection = await raw(t);
      await connection.ask({ connect: {} });
      connection.send(command);
      assert.equal(await connection.close(), 3501);
    });
  }

  for (const bytes of kit.codec.malformed) {
    test(`malformed bytes are 3501: ${JSON.stringify(bytes.toString('latin1'))}`, async (t) => {
      const connection = await raw(t);
      await connection.ask({ connect: {} });
      connection.socket.send(bytes);
      assert.equal(await connection.close(), 3501);
    });
  }

  test('a message over the limit is 1009', async (t) => {
    const connection = await raw(t);
    await connection.ask({ connect: {} });
    connection.send({ id: 2, rpc: { method: 'echo', data: pack('x'.repeat(70_000)) } });
    assert.equal(await connection.close(), 1009);
  });

  test('the connect reply says who, how often it pings, and that it wants pongs', async (t) => {
    const { connect: answer } =
      await (await raw(t)).ask({ connect: { token: token('alice', { exp: undefined }) } });
    assert.ok(answer.client.length > 0);
    assert.deepEqual([answer.ping, answer.pong], [3, true]);
    assert.ok(!answer.expires);
  });

  test('an expired token is error 109, a forged one 3500', async (t) => {
    const expired = await raw(t);
    const { error } = await expired.ask({ connect: { token: token('alice', { expires_s: -1 }) } });
    assert.equal(error.code, 109);
    const forged = await raw(t);
    forged.send({ id: 1, connect: { token: `${token('alice')}x` } });
    assert.equal(await forged.close(), 3500);
  });

  test('many commands in one frame are all answered', async (t) => {
    const connection = await raw(t);
    const name = channel();
    const commands = [{ id: 1, connect: {} }, { id: 2, subscribe: { channel: name } }];
    for (const id of numbers(98, 3)) commands.push({ id, publish: { channel: name, data: pack({ id }) } });
    connection.send(...commands);
    assert.ok((await connection.reply(1)).connect);
    assert.ok((await connection.reply(2)).subscribe);
    for (const id of numbers(98, 3)) {
      assert.deepEqual(unpack((await connection.push('pub')).push.pub.data), { id });
      assert.ok((await connection.reply(id)).publish);
    }
  });

  test('commands behind connect in a frame work with a token too', async (t) => {
    const connection = await raw(t);
    const name = channel();
    connection.send(
      { id: 1, connect: { token: token('alice') } },
      { id: 2, subscribe: { channel: name } },
      { id: 3, presence: { channel: name } },
    );
    const { presence } = (await connection.reply(3)).presence;
    assert.deepEqual(Object.values(presence).map(({ user }) => user), ['alice']);
  });

  test('a second subscribe is 105, and the first one stays', async (t) => {
    const connection = await raw(t);
    const name = channel('plain');
    await connection.ask({ connect: {} });
    assert.ok((await connection.ask({ subscribe: { channel: name } })).subscribe);
    assert.equal((await connection.ask({ subscribe: { channel: name } })).error.code, 105);
    await connection.ask({ publish: { channel: name, data: pack({ n: 0 }) } });
    assert.deepEqual(unpack((await connection.push('pub')).push.pub.data), { n: 0 });
  });

  test('a channel name over the limit is 107', async (t) => {
    const connection = await raw(t);
    await connection.ask({ connect: {} });
    const name = `plain:${'x'.repeat(250)}`;
    assert.equal((await connection.ask({ subscribe: { channel: name } })).error.code, 107);
  });

  test('unsubscribed, a connection hears nothing more, and may subscribe again', async (t) => {
    const name = channel('plain');
    const [connection, other] = await Promise.all([raw(t), raw(t)]);
    for (const each of [connection, other]) {
      await each.ask({ connect: {} });
      await each.ask({ subscribe: { channel: name } });
    }
    assert.ok((await connection.ask({ unsubscribe: { channel: name } })).unsubscribe);
    await other.ask({ publish: { channel: name, data: pack('unheard') } });
    await other.push('pub');
    assert.ok((await connection.ask({ subscribe: { channel: name } })).subscribe);
    await other.ask({ publish: { channel: name, data: pack('heard') } });
    const next = async () => unpack((await connection.push('pub')).push.pub.data);
    const first = await next();
    // What another node published is on its way for a moment.
    assert.equal(nodes > 1 && first === 'unheard' ? await next() : first, 'heard');
  });

  test('history reads from a position, of the epoch that it names if it names one', async (t) => {
    const connection = await raw(t);
    const name = channel();
    await connection.ask({ connect: {} });
    for (const n of numbers(6, 1)) await connection.ask({ publish: { channel: name, data: pack(n) } });
    const { epoch } = (await connection.ask({ history: { channel: name } })).history;
    const read = async (from, named, reverse) => {
      const since = { offset: from, epoch: named };
      const { history, error } = await connection.ask({ history: { channel: name, limit: -1, since, reverse } });
      return error?.code ?? (history.publications ?? []).map(offset);
    };
    for (const named of [epoch, '']) {
      assert.deepEqual(await read(4, named, false), [5, 6]);
      for (const at of [6, 7, 100]) assert.deepEqual(await read(at, named, false), []);
      assert.deepEqual(await read(4, named, true), [3, 2, 1]);
      assert.deepEqual(await read(7, named, true), [6, 5, 4, 3, 2, 1]);
      for (const at of [1, 8, 100]) assert.deepEqual(await read(at, named, true), []);
      assert.equal(await read(0, named, true), 107);
    }
    assert.equal(await read(4, 'another', false), 112);
    assert.equal(await read(0, 'another', true), 107);
  });

  test('who asks to recover where there is no recovery is told that it was none', async (t) => {
    const connection = await raw(t);
    await connection.ask({ connect: {} });
    for (const epoch of ['', 'another']) {
      const { subscribe: answer } =
        await connection.ask({ subscribe: { channel: channel('plain'), recover: true, offset: 3, epoch } });
      assert.equal(answer.was_recovering, true);
      assert.ok(!answer.recovered && !answer.recoverable && !answer.positioned);
      assert.deepEqual([Number(answer.offset ?? 0), answer.epoch ?? ''], [0, '']);
    }
  });

  test('the subscribe reply brings what a position missed, and never a part of it', async (t) => {
    const connection = await raw(t);
    const name = channel();
    await connection.ask({ connect: {} });
    for (const n of numbers(1_005, 1)) await connection.ask({ publish: { channel: name, data: pack(n) } });
    const { epoch } = (await connection.ask({ history: { channel: name } })).history;
    const recover = async (from) => {
      const { subscribe: answer } =
        await connection.ask({ subscribe: { channel: name, recover: true, epoch, offset: from } });
      await connection.ask({ unsubscribe: { channel: name } });
      assert.equal(answer.was_recovering, true);
      assert.equal(answer.epoch, epoch);
      const publications = answer.publications ?? [];
      assert.deepEqual(publications.map(offset), publications.map((each) => unpack(each.data)));
      // Where it begins: from where was asked, or, without a recovery, at the top.
      assert.equal(offset(answer), answer.recovered ? from : 1_005);
      return { recovered: answer.recovered ?? false, data: publications.map((each) => unpack(each.data)) };
    };
    assert.deepEqual(await recover(1_002), { recovered: true, data: [1_003, 1_004, 1_005] });
    assert.deepEqual(await recover(1_005), { recovered: true, data: [] });
    assert.equal((await recover(5)).data.length, 1_000);
    assert.deepEqual(await recover(4), { recovered: false, data: [] }); // 5 is gone
  });
}
