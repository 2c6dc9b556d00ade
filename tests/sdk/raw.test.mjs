// What only JSON has: bytes that are text, and line breaks in it. Runs against Corecast and against
// the oracle.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { channel, collect, connect, corecast, raw, subscribe, url } from './helpers.mjs';

test('a binary frame on a JSON connection is read as JSON', async (t) => {
  const connection = await raw(t, { format: Buffer.from });
  assert.ok((await connection.ask({ connect: {} })).connect);
  const { rpc } = await connection.ask({ rpc: { method: 'echo', data: [1] } });
  assert.deepEqual(rpc.data, [1]);
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
