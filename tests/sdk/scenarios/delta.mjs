// Deltas: what subscribers put together is what was published, whatever its shape.
import assert from 'node:assert/strict';
import { channel, corecast, next, numbers } from '../helpers.mjs';

const filler = 'The quick brown fox jumps over the lazy dog. '.repeat(8);
const documents = [
  ...numbers(5).map((n) => ({ n, text: filler })), // alike
  ...numbers(5).map((n) => ({ n, text: filler.repeat(n + 1) })), // growing
  ...numbers(5).map((n) => ({ n, text: filler.slice(0, 300 - 70 * n) })), // shrinking
  { n: 'small' }, { n: 'small!' }, {}, { n: null, text: filler },
];
// Neighbours that share bytes of letters: a patch that copies half a letter is no text.
const letters = ['\u00e9', '\u00e8', '\u20ac', '\u20ad', '\u{1f600}', '\u{1f601}', '\u{1f1e6}'].map((letter, n) => (
  { n, text: filler + letter.repeat(3) + filler + letter }
));

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { connect, subscribe, raw, pack, unpack } = kit;
  const value = ({ data }) => unpack(data);
  const needs = ['delta'];
  // The oracle puts patches that are no UTF-8 into JSON all the same, and the SDK cannot read them.
  const published = corecast || kit.codec.name !== 'json' ? [...documents, ...letters] : documents;

  test('deltas make the publications that were sent, live and recovered', { needs }, async (t) => {
    const name = channel('delta');
    const [publisher, listener, other] = await Promise.all([connect(t), connect(t), connect(t)]);
    const room = await subscribe(listener, name, { delta: 'fossil' });
    const full = await subscribe(other, name);
    for (const document of published) await publisher.publish(name, pack(document));
    await room.publications.reach(published.length);
    listener.hold();
    listener.kill();
    await next(listener, 'connecting');
    for (const document of published) await publisher.publish(name, pack(document));
    const back = next(room, 'subscribed');
    listener.release();
    const answer = await back;
    assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
    for (const document of published) await publisher.publish(name, pack(document));
    const expected = [...published, ...published, ...published];
    for (const each of [room, full]) {
      assert.deepEqual((await each.publications.reach(expected.length)).map(value), expected);
    }
    const { numDeltaPayloads, bytesReceived, bytesDecoded } = room.deltaStats();
    assert.ok(numDeltaPayloads > published.length, `${numDeltaPayloads} deltas`);
    assert.ok(bytesReceived < bytesDecoded / 2, `${bytesReceived} of ${bytesDecoded} bytes`);
  });

  test('deltas that nobody allows are not negotiated', { needs }, async (t) => {
    const connection = await raw(t);
    await connection.ask({ connect: {} });
    const asked = async (namespace) =>
      (await connection.ask({ subscribe: { channel: channel(namespace), delta: 'fossil' } })).subscribe;
    assert.equal((await asked('delta')).delta, true);
    assert.ok(!(await asked('chat')).delta);
  });
}
