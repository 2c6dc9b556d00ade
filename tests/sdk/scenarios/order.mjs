// What README's section on order promises, as applications rely on it: commands behind a subscribe,
// one's own publications, and calls that a backend awaits. Each is done many times on each server,
// and every publication is accounted for.
import assert from 'node:assert/strict';
import { api, channel, collect, next, numbers, servers, token } from '../helpers.mjs';

const ROUNDS = 40;

/** Declares the scenarios with `test`, for clients of `kit`. */
export default function declare(kit, test) {
  const { connect, subscribe, pack, unpack } = kit;
  const sent = ({ data }) => unpack(data).n;

  /** Declares a scenario for each server: with four workers, and with one. */
  const everywhere = (what, ...rest) => {
    const run = rest.pop();
    servers.forEach((server, at) => {
      test(`${what}${at ? ', with one worker' : ''}`, ...rest, (t) => run(t, server));
    });
  };

  everywhere('who subscribes may publish at once', async (t, server) => {
    const sdk = await connect(t, { server });
    for (const round of numbers(ROUNDS)) {
      const room = sdk.newSubscription(channel('members'));
      const heard = collect(room, 'publication', sent);
      const subscribed = next(room, 'subscribed');
      room.subscribe();
      await Promise.all(numbers(3).map((n) => sdk.publish(room.channel, pack({ n: 3 * round + n }))));
      await subscribed;
      assert.deepEqual(heard.seen, numbers(3, 3 * round));
      room.unsubscribe();
      sdk.removeSubscription(room);
    }
  });

  everywhere('what is published while a client reconnects is taken', async (t, server) => {
    const sdk = await connect(t, { server, minReconnectDelay: 1, maxReconnectDelay: 2 });
    const rooms = await Promise.all(numbers(24).map(() => subscribe(sdk, channel('members'))));
    // The last of its subscribes has just been sent when the first publication is.
    rooms.reverse();
    for (const round of numbers(ROUNDS)) {
      const lost = next(sdk, 'connecting');
      sdk.kill();
      await lost;
      await Promise.all(rooms.map(({ channel: name }) => sdk.publish(name, pack({ n: round }))));
    }
    for (const room of rooms) {
      assert.deepEqual((await room.publications.reach(ROUNDS)).map(sent), numbers(ROUNDS));
    }
  });

  everywhere('who awaits his publication and leaves has heard it', async (t, server) => {
    const sdk = await connect(t, { server });
    for (const round of numbers(ROUNDS)) {
      const room = await subscribe(sdk, channel(round % 2 ? 'members' : 'plain'));
      await room.publish(pack({ n: round }));
      room.unsubscribe();
      assert.deepEqual(room.publications.seen.map(sent), [round]);
      sdk.removeSubscription(room);
    }
  });

  everywhere('whom a call has subscribed may publish', { needs: ['server subscriptions', 'api'] }, async (t, server) => {
    const user = channel('user');
    const sdk = await connect(t, { server, token: token(user) });
    const heard = collect(sdk, 'publication', sent);
    for (const round of numbers(ROUNDS)) {
      const name = channel('members');
      await api('subscribe', { user, channel: name }, server);
      await sdk.publish(name, pack({ n: round }));
      assert.deepEqual(heard.seen, numbers(round + 1));
    }
  });

  everywhere('calls that were awaited have taken effect', { needs: ['server subscriptions', 'api'] }, async (t, server) => {
    const session = async (make) => {
      const [user, name] = [channel('user'), channel()];
      const clients = await Promise.all(numbers(3).map(() => connect(t, { server, token: token(user) })));
      const heard = clients.map((sdk) => collect(sdk, 'publication', sent));
      const ended = clients.map((sdk) => next(sdk, 'disconnected', 30_000));
      const publish = (n) => ({ publish: { channel: name, data: { n } } });
      const commands = [
        { subscribe: { user, channel: name } }, publish('in'),
        { unsubscribe: { user, channel: name } }, publish('out'),
        { subscribe: { user, channel: name } }, publish('farewell'),
        { disconnect: { user } },
      ];
      await make(commands);
      for (const { code } of await Promise.all(ended)) assert.equal(code, 3503);
      for (const { seen } of heard) assert.deepEqual(seen, ['in', 'farewell']);
    };
    const awaited = async (commands) => {
      for (const command of commands) {
        const [[method, body]] = Object.entries(command);
        await api(method, body, server);
      }
    };
    const batch = async (commands) => {
      for (const { error } of await api('batch', { commands }, server)) assert.equal(error, undefined);
    };
    for (const _ of numbers(ROUNDS / 4)) {
      await Promise.all([awaited, awaited, batch, batch].map(session));
    }
  });
}
