// Who connects, and what a connection can ask for beside channels.
import assert from 'node:assert/strict';
import { channel, collect, next, refusal, token } from '../helpers.mjs';

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { client, connect, subscribe, raw, pack, unpack } = kit;

  test('an anonymous client connects', async (t) => {
    const sdk = client(t);
    sdk.connect();
    const { client: id } = await next(sdk, 'connected');
    assert.ok(id.length > 0);
  });

  test('a token names the user', async (t) => {
    const sdk = await connect(t, { token: token('alice') });
    const room = await subscribe(sdk, channel());
    const users = Object.values((await room.presence()).clients).map(({ user }) => user);
    assert.deepEqual(users, ['alice']);
  });

  test('an expired token is error 109, and the next one is taken', async (t) => {
    const tokens = [token('alice', { expires_s: -60 }), token('alice')];
    const sdk = client(t, { getToken: async () => tokens.shift() });
    const errors = collect(sdk, 'error', ({ error }) => error.code);
    sdk.connect();
    await next(sdk, 'connected');
    assert.deepEqual(errors.seen, [109]);
    assert.equal(tokens.length, 0);
  });

  test('a forged token is disconnect 3500', async (t) => {
    const sdk = client(t, { token: token('alice', { key: 'another-secret-another-secret-123' }) });
    sdk.connect();
    assert.equal((await next(sdk, 'disconnected')).code, 3500);
  });

  test('rpc answers, and knows what it does not know', async (t) => {
    const sdk = await connect(t);
    await sdk.rpc('ping', pack({}));
    const data = { deep: [1, { two: null }], text: '\ud83d\ude00\\"\u2028' };
    assert.deepEqual(unpack((await sdk.rpc('echo', pack(data))).data), data);
    assert.equal((await refusal(sdk.rpc('nothing-like-it', pack({})))).code, 104);
    await sdk.send(pack({ n: 0 })); // has no answer, and does no harm
    await sdk.rpc('ping', pack({}));
  });
}
