// What no SDK sends: the protocol's bytes through a plain `ws` client. Runs against Corecast and
// against the oracle.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { channel, collect, connect, corecast, raw, subscribe, token, url } from './helpers.mjs';

test('a first command other than connect is 3501', async (t) => {
  const connection = await raw(t);
  connection.socket.send('{"id":1,"subscribe":{"channel":"plain:a"}}');
  assert.equal(await connection.close(), 3501);
});

test('no connect command in time is 3502', async (t) => {
  assert.equal(await (await raw(t)).close(), 3502);
});

for (const [what, bytes] of [
  ['malformed JSON', '{"id":2,"publish":'],
  ['a command without a method', '{"id":2}'],
  ['a method that does not exist', '{"id":2,"levitate":{}}'],
  ['a command without an id', '{"rpc":{"method":"ping","data":{}}}'],
  ['a second connect', '{"id":2,"connect":{}}'],
]) {
  test(`${what} is 3501`, async (t) => {
    const connection = await raw(t);
    await connection.ask({ connect: {} });
    connection.socket.send(bytes);
    assert.equal(await connection.close(), 3501);
  });
}

test('a message over the limit is 1009', async (t) => {
  const connection = await raw(t);
  await connection.ask({ connect: {} });
  connection.socket.send(JSON.stringify({ id: 2, rpc: { method: 'echo', data: 'x'.repeat(70_000) } }));
  assert.equal(await connection.close(), 1009);
});

test('the connect reply says who, how often it pings, and that it wants pongs', async (t) => {
  const { connect: answer } = await (await raw(t)).ask({ connect: { token: token('alice') } });
  assert.ok(answer.client.length > 0);
  assert.deepEqual([answer.ping, answer.pong], [2, true]);
  assert.ok(!answer.expires);
});

test('an expired token is error 109, a forged one 3500', async (t) => {
  const expired = await raw(t);
  const { error } = await expired.ask({ connect: { token: token('alice', { expires_s: -1 }) } });
  assert.equal(error.code, 109);
  const forged = await raw(t);
  forged.socket.send(JSON.stringify({ id: 1, connect: { token: `${token('alice')}x` } }));
  assert.equal(await forged.close(), 3500);
});

test('many commands in one frame are all answered', async (t) => {
  const connection = await raw(t);
  const name = channel();
  const commands = [{ id: 1, connect: {} }, { id: 2, subscribe: { channel: name } }];
  for (let id = 3; id <= 100; id += 1) commands.push({ id, publish: { channel: name, data: { id } } });
  connection.socket.send(commands.map((command) => JSON.stringify(command)).join('\n'));
  assert.ok((await connection.reply(1)).connect);
  assert.ok((await connection.reply(2)).subscribe);
  for (let id = 3; id <= 100; id += 1) {
    assert.deepEqual((await connection.push('pub')).push.pub.data, { id });
    assert.ok((await connection.reply(id)).publish);
  }
});

test('commands behind connect in a frame work with a token too', async (t) => {
  const connection = await raw(t);
  const name = channel();
  connection.socket.send([
    { id: 1, connect: { token: token('alice') } },
    { id: 2, subscribe: { channel: name } },
    { id: 3, presence: { channel: name } },
  ].map((command) => JSON.stringify(command)).join('\n'));
  const { presence } = (await connection.reply(3)).presence;
  assert.deepEqual(Object.values(presence).map(({ user }) => user), ['alice']);
});

test('a binary frame on a JSON connection is read as JSON', async (t) => {
  const connection = await raw(t, { format: Buffer.from });
  assert.ok((await connection.ask({ connect: {} })).connect);
  const { rpc } = await connection.ask({ rpc: { method: 'echo', data: [1] } });
  assert.deepEqual(rpc.data, [1]);
});

test('a second subscribe is 105, and the first one stays', async (t) => {
  const connection = await raw(t);
  const name = channel('plain');
  await connection.ask({ connect: {} });
  assert.ok((await connection.ask({ subscribe: { channel: name } })).subscribe);
  assert.equal((await connection.ask({ subscribe: { channel: name } })).error.code, 105);
  await connection.ask({ publish: { channel: name, data: { n: 0 } } });
  assert.deepEqual((await connection.push('pub')).push.pub.data, { n: 0 });
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
  await other.ask({ publish: { channel: name, data: 'unheard' } });
  await other.push('pub');
  assert.ok((await connection.ask({ subscribe: { channel: name } })).subscribe);
  await other.ask({ publish: { channel: name, data: 'heard' } });
  assert.equal((await connection.push('pub')).push.pub.data, 'heard');
});

test('the subscribe reply brings what a position missed, and never a part of it', async (t) => {
  const connection = await raw(t);
  const name = channel();
  await connection.ask({ connect: {} });
  for (let n = 1; n <= 1_005; n += 1) await connection.ask({ publish: { channel: name, data: n } });
  const { epoch } = (await connection.ask({ history: { channel: name } })).history;
  const recover = async (offset) => {
    const { subscribe: answer } =
      await connection.ask({ subscribe: { channel: name, recover: true, epoch, offset } });
    await connection.ask({ unsubscribe: { channel: name } });
    assert.equal(answer.was_recovering, true);
    assert.equal(answer.epoch, epoch);
    return { recovered: answer.recovered ?? false, data: (answer.publications ?? []).map((p) => p.data) };
  };
  assert.deepEqual(await recover(1_002), { recovered: true, data: [1_003, 1_004, 1_005] });
  assert.deepEqual(await recover(1_005), { recovered: true, data: [] });
  assert.equal((await recover(5)).data.length, 1_000);
  assert.deepEqual(await recover(4), { recovered: false, data: [] }); // 5 is gone
});

// The protocol separates JSON commands with newlines, so the oracle refuses a line break inside
// one; Corecast takes it. Either way nobody else may notice.
for (const [what, data] of [
  ['newlines', '{\n  "n": 1\n}'], ['carriage returns', '{\r  "n":\r 1}'], ['both', '{\r\n\t"n": 1\r\n}'],
]) {
  test(`a payload printed with ${what} breaks no subscriber`, async (t) => {
    const name = channel();
    const listener = await connect(t);
    const heard = await subscribe(listener, name);
    const reconnects = collect(listener, 'connecting');
    const publisher = await raw(t);
    await publisher.ask({ connect: {} });
    publisher.socket.send(`{"id":9,"publish":{"channel":"${name}","data":${data}}}`);
    const outcome = await Promise.race([publisher.reply(9), publisher.close()]);
    if (outcome === 3501) assert.ok(!corecast || data.includes('\n'));
    else assert.ok(outcome.publish);
    const published = outcome === 3501 ? [] : [{ n: 1 }];

    await listener.publish(name, { n: 2 });
    await heard.publications.reach(published.length + 1);
    const seen = heard.publications.seen.map((publication) => publication.data);
    assert.deepEqual(seen, [...published, { n: 2 }]);
    assert.deepEqual(reconnects.seen, []);
  });
}

test('the HTTP API publishes, pretty-printed too', { skip: !corecast }, async (t) => {
  const name = channel();
  const heard = await subscribe(await connect(t), name);
  const post = (key, body) => fetch(new URL('/api/publish', url.replace(/^ws/, 'http')), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...key && { 'X-API-Key': key } },
    body,
  });
  const body = JSON.stringify({ channel: name, data: { n: 1, lines: ['a\nb', {}] } }, null, 2);
  assert.equal((await post(undefined, body)).status, 401);
  assert.equal((await post('wrong', body)).status, 401);
  const answer = await post('sdk-tests', body);
  assert.equal(answer.status, 200);
  assert.ok((await answer.json()).result);
  const [publication] = await heard.publications.reach(1);
  assert.deepEqual(publication.data, { n: 1, lines: ['a\nb', {}] });
});
