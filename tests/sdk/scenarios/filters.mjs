// Publications by their tags: what a filter lets through, live and recovered.
import assert from 'node:assert/strict';
import { api, channel, next, offset } from '../helpers.mjs';

const is = (key, cmp, val) => ({ key, cmp, val });
const among = (key, cmp, ...vals) => ({ key, cmp, vals });
const all = (...nodes) => ({ op: 'and', nodes });
const any = (...nodes) => ({ op: 'or', nodes });
const not = (node) => ({ op: 'not', nodes: [node] });

const published = [
  {},
  { symbol: 'AAPL', price: '150.5' },
  { symbol: 'MSFT', price: '99' },
  { symbol: 'AA', price: '-1e2' },
  { price: 'cheap', note: '' },
  { symbol: 'GOOG', price: '150.50' },
];

// A filter, and which of the publications it lets through.
const filters = [
  [is('symbol', 'eq', 'AAPL'), [1]],
  [is('symbol', 'neq', 'AAPL'), [0, 2, 3, 4, 5]],
  [among('symbol', 'in', 'AAPL', 'MSFT'), [1, 2]],
  [among('symbol', 'nin', 'AAPL', 'MSFT'), [0, 3, 4, 5]],
  [{ key: 'note', cmp: 'ex' }, [4]],
  [{ key: 'symbol', cmp: 'nex' }, [0, 4]],
  [is('symbol', 'sw', 'AA'), [1, 3]],
  [is('symbol', 'ew', 'G'), [5]],
  [is('symbol', 'ct', 'S'), [2]],
  [is('price', 'lt', '100'), [2]],
  [is('price', 'lte', '99'), [2]],
  [is('price', 'gt', '99'), [1, 5]],
  [is('price', 'gte', '150.5'), [1, 5]],
  [is('price', 'gte', 'many'), []],
  [all(is('symbol', 'sw', 'A'), not(is('price', 'gt', '100'))), [3]],
  [any(is('symbol', 'eq', 'GOOG'), all({ key: 'note', cmp: 'ex' }, is('price', 'eq', 'cheap'))), [4, 5]],
];

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { connect, subscribe, pack, unpack } = kit;
  const sent = ({ data }) => unpack(data).n;
  const needs = ['filters', 'api'];

  test('a filter lets through what it says, live and recovered', { needs }, async (t) => {
    const name = channel('tagged');
    const sdks = await Promise.all(filters.map(() => connect(t)));
    const rooms = await Promise.all(
      filters.map(([filter], at) => subscribe(sdks[at], name, { tagsFilter: filter })),
    );
    const publish = async (from) => {
      for (const [n, tags] of published.entries()) {
        await api('publish', { channel: name, data: { n: from + n }, ...Object.keys(tags).length && { tags } });
      }
    };
    await publish(0);
    for (const [at, room] of rooms.entries()) await room.publications.reach(filters[at][1].length);

    const back = rooms.map((room) => next(room, 'subscribed'));
    for (const sdk of sdks) {
      sdk.hold();
      sdk.kill();
    }
    await Promise.all(sdks.map((sdk) => (sdk.state === 'connecting' || next(sdk, 'connecting'))));
    await publish(10);
    for (const sdk of sdks) sdk.release();
    for (const [at, answer] of (await Promise.all(back)).entries()) {
      assert.deepEqual([answer.wasRecovering, answer.recovered], [true, true]);
      // From where it recovered, which may be before the first that its filter lets pass.
      const last = filters[at][1].at(-1);
      assert.equal(offset(answer.streamPosition), last === undefined ? 0 : last + 1, JSON.stringify(filters[at][0]));
    }
    await publish(20);
    for (const [at, room] of rooms.entries()) {
      const [filter, through] = filters[at];
      const expected = [0, 10, 20].flatMap((from) => through.map((n) => from + n));
      await room.publications.reach(expected.length);
      assert.deepEqual(room.publications.seen.map(sent), expected, JSON.stringify(filter));
    }
  });

  test('what is no filter, or not allowed, is 107', { needs }, async (t) => {
    const sdk = await connect(t);
    for (const [name, tagsFilter] of [
      [channel('tagged'), is('a', 'like', 'b')],
      [channel('tagged'), { op: 'xor', nodes: [is('a', 'eq', 'b')] }],
      [channel('tagged'), { op: 'not', nodes: [] }],
      [channel('tagged'), among('a', 'in')],
      [channel('tagged'), is('', 'eq', 'b')],
      [channel('chat'), is('a', 'eq', 'b')],
    ]) {
      const room = sdk.newSubscription(name, { tagsFilter });
      const unsubscribed = next(room, 'unsubscribed');
      room.subscribe();
      assert.equal((await unsubscribed).code, 107, JSON.stringify(tagsFilter));
    }
  });
}
