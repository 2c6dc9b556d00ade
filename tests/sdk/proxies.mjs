// Corecast behind nginx, HAProxy or Caddy, as its documents say: proxies.mjs PROXY BINARY DRIVER FOLDER.
// FOLDER has cert.pem, key.pem and both.pem, and a folder of the proxy's name.
//
// Everything waits for conditions. The one time that is waited out is the 80 s of idle connections,
// beside which the rest runs.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { next, token, within } from './helpers.mjs';

const [proxy, binary, driver, folder] = process.argv.slice(2);
const own = `${folder}/${proxy}`;
const root = fileURLToPath(new URL('../..', import.meta.url));
const KEY = 'proxies-tests-key-proxies-tests-key';
const ORIGIN = 'https://app.example.com';
/** Longer than the time limits of the examples; shorter than that behind three pings of 25 s. */
const IDLE_MS = 80_000;
const DELAY_MS = 4_000;

const say = (text) => console.log(`${proxy}: ${text}`);
const children = [];
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/** Calls `check` until it gives something. */
async function until(what, check, ms = 30_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} did not come within ${ms} ms`);
    await sleep(20);
  }
}

/** Ports that nobody listens on. */
async function freePorts(count) {
  const listeners = await Promise.all(Array.from({ length: count }, () => new Promise((resolve) => {
    const listener = net.createServer().listen(0, '127.0.0.1', () => resolve(listener));
  })));
  const ports = listeners.map((listener) => listener.address().port);
  await Promise.all(listeners.map((listener) => new Promise((resolve) => listener.close(resolve))));
  return ports;
}

/** A process whose output is kept, and shown when it ends as it should not. */
function start(name, command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  child.said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { child.said += data; });
  child.ended = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
  child.ended.then((code) => {
    if (code && !child.mayFail) console.log(`${name} ended with ${code}:\n${child.said}`);
  });
  children.push(child);
  return child;
}

/** A status asked of a server itself; 0 where nobody listens. */
function ask(where, path) {
  return new Promise((resolve) => {
    const request = http.get({ ...where, path, agent: false, timeout: 5_000 }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode));
    });
    request.on('error', () => resolve(0));
    request.on('timeout', () => request.destroy());
  });
}

async function corecast(listen, where) {
  const config = `${own}/${listen.replaceAll(/[^a-z0-9]/g, '_')}.toml`;
  writeFileSync(config, `
listen = "${listen}"
driver = "${driver}"
workers = 2
allowed_origins = ["${ORIGIN}"]
shutdown_delay_ms = ${DELAY_MS}
log.format = "json"
trusted_proxies = ["127.0.0.1", "unix"]

[client]
token_hmac_secret = "sdk-tests-secret-sdk-tests-secret"

[api]
key = "${KEY}"

[[namespace]]
name = "chat"
history_size = 100
history_ttl_s = 300
recovery = "force"
positioning = "force"
allow_subscribe = "user"
allow_publish = "subscriber"
`);
  const child = start('corecast', binary, ['serve', '--config', config]);
  await until('a server', async () => await ask(where, '/ready') === 200);
  child.where = where;
  return child;
}

/** The example of this proxy in README or docs. */
function example() {
  const pages = ['README.md', ...readdirSync(`${root}/docs`).filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`)];
  const found = pages.flatMap((page) => [...readFileSync(`${root}/${page}`, 'utf8')
    .matchAll(new RegExp(`^\`\`\`${proxy}\n(.*?)^\`\`\``, 'gms'))].map((match) => match[1]));
  assert.equal(found.length, 1, `one example of ${proxy} in README.md and docs/`);
  return found[0];
}

/** Replaces what has to be there, in every place. */
function replace(text, from, to) {
  assert.ok(text.includes(from), `${from} is not in the example:\n${text}`);
  return text.replaceAll(from, to);
}

/** The example with ports of this machine, and each of `upstreams` in the place of its server. */
function configured(port, upstreams) {
  const place = '127.0.0.1:8000';
  let text = example();
  const line = text.split('\n').find((each) => each.includes(place));
  const lines = upstreams.map((upstream, index) => line.replace(place, upstream)
    .replace(/^(\s*server) one\b/, `$1 number${index}`));
  text = replace(text, line, lines.join('\n'));
  if (proxy === 'nginx') {
    text = replace(text, 'listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`);
    return `daemon off; pid ${own}/nginx.pid; error_log stderr; worker_processes 2;
events {}
http {
access_log off;
client_body_temp_path ${own}/body; proxy_temp_path ${own}/proxy; fastcgi_temp_path ${own}/f;
uwsgi_temp_path ${own}/u; scgi_temp_path ${own}/s;
ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;
${text}
}
`;
  }
  if (proxy === 'caddy') {
    text = replace(text, 'app.example.com {', `https://127.0.0.1:${port} {
    bind 127.0.0.1
    tls ${folder}/cert.pem ${folder}/key.pem`);
    return `{
    admin off
    auto_https disable_redirects
}
${text}`;
  }
  text = replace(text, 'bind :443', `bind 127.0.0.1:${port}`);
  text = text.replace(/crt \S+/, `crt ${folder}/both.pem`);
  return `global\n    stats socket ${own}/stats level admin\n${text}`;
}

let files = 0;
/** Starts the proxy in front of these servers; gives its process and its port. */
async function started(upstreams, change = (text) => text) {
  const [port] = await freePorts(1);
  const file = `${own}/proxy-${files++}.conf`;
  writeFileSync(file, change(configured(port, upstreams)));
  const args = {
    nginx: ['-e', 'stderr', '-p', own, '-c', file],
    haproxy: ['-f', file],
    caddy: ['run', '--config', file, '--adapter', 'caddyfile'],
  }[proxy];
  const child = start(proxy, proxy, args);
  await until(`${proxy} in front of a server`, async () => {
    if (child.exitCode !== null) throw new Error(`${proxy} does not start: ${child.said}`);
    return (await fetch(`https://127.0.0.1:${port}/health`).catch(() => ({}))).status === 200;
  });
  return { child, port, http: `https://127.0.0.1:${port}`, ws: `wss://127.0.0.1:${port}/connection/websocket` };
}

async function ended(child) {
  child.mayFail = true;
  child.kill('SIGTERM');
  await within(20_000, child.ended, 'the end of a proxy');
}

const post = (base, method, body) => fetch(`${base}/api/${method}`, {
  method: 'POST', headers: { 'X-API-Key': KEY }, body: JSON.stringify(body),
});

const sdk = (front, user, options = {}) => new Centrifuge(front.ws, {
  websocket: WebSocket, getToken: async () => token(user), minReconnectDelay: 50, maxReconnectDelay: 500, ...options,
});

async function connected(front, user) {
  const client = sdk(front, user);
  const up = next(client, 'connected', 20_000);
  client.connect();
  await up;
  return client;
}

/** Clients, publications and the server API, through the proxy. */
async function works(front, server) {
  const [one, other] = [await connected(front, 'one'), await connected(front, 'other')];
  const heard = [one, other].map((client) => {
    const subscription = client.newSubscription('chat:room');
    return { client, subscription, seen: [] };
  });
  for (const it of heard) {
    it.subscription.on('publication', (publication) => it.seen.push(publication.data));
    const subscribed = next(it.subscription, 'subscribed');
    it.subscription.subscribe();
    await subscribed;
  }
  const large = 'x'.repeat(30_000);
  await heard[0].subscription.publish({ from: 'one', large });
  const answer = await (await post(front.http, 'publish', { channel: 'chat:room', data: { from: 'api' } })).json();
  assert.ok(answer.result, JSON.stringify(answer));
  await until('both publications with both', () => heard.every(({ seen }) => seen.length === 2));
  for (const { seen } of heard) assert.deepEqual(seen.map(({ from }) => from), ['one', 'api']);
  assert.equal(heard[1].seen[0].large, large);
  heard.forEach(({ client }) => client.disconnect());
  // Origins arrive as the browser sent them.
  const upgrade = (headers) => new Promise((resolve, reject) => {
    const socket = new WebSocket(front.ws, { headers });
    socket.on('open', () => resolve(socket.terminate() ?? 101));
    socket.on('unexpected-response', (_, response) => resolve(response.statusCode) ?? socket.terminate());
    socket.on('error', (error) => reject(error));
  });
  assert.equal(await upgrade({ Origin: ORIGIN }), 101);
  assert.equal(await upgrade({ Origin: 'https://evil.example' }), 403);
  // Whom the server turned away it names as the proxy saw him, whatever he says he is.
  const from = '127.0.0.9';
  const path = `/nowhere-${files}`;
  const status = await new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: front.port, path, localAddress: from, agent: false };
    https.get({ ...options, headers: { 'X-Forwarded-For': '6.6.6.6' } }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode));
    }).on('error', reject);
  });
  assert.equal(status, 404);
  const line = await until('a line of the refusal', () => server.said.split('\n').find((each) => each.includes(path)));
  assert.equal(JSON.parse(line).remote, from, line);
}

/** Requests without a pause until it is told to stop; gives how many there were. */
function unceasing(request) {
  const state = { stop: false, count: 0, failures: [] };
  const run = async () => {
    while (!state.stop) {
      try {
        const answer = await request();
        if (answer.status !== 200) state.failures.push(answer.status);
        await answer.arrayBuffer();
      } catch (error) {
        state.failures.push(`${error} ${error.cause ?? ''}`);
      }
      state.count += 1;
    }
  };
  state.done = Promise.all([run(), run()]);
  return state;
}

/** HAProxy's word about a server: its state, and the status that its check got. */
function seen(server) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(`${own}/stats`, () => socket.end('show stat\n'));
    let text = '';
    socket.on('data', (data) => { text += data; });
    socket.on('error', reject);
    socket.on('end', () => {
      const [head, ...rows] = text.split('\n').map((line) => line.split(','));
      const row = rows.find((each) => each[1] === server);
      resolve({ status: row[head.indexOf('status')], code: row[head.indexOf('check_code')] });
    });
  });
}

/** One of two servers ends while requests and clients come without a pause. */
async function drains(front, going, staying) {
  const clients = await Promise.all(Array.from({ length: 20 }, (_, index) => connected(front, `u${index}`)));
  const dropped = clients.map((client) => {
    const codes = [];
    client.on('connecting', ({ code }) => codes.push(code));
    return codes;
  });
  const asked = [unceasing(() => fetch(`${front.http}/health`))];
  // What is no GET is not sent twice by a proxy that cannot know what came of it. HAProxy knows, by
  // its checks, before the listener closes.
  if (proxy === 'haproxy') {
    asked.push(unceasing(() => post(front.http, 'publish', { channel: 'chat:drain', data: 1 })));
  }
  let newcomers = 0;
  let stop = false;
  const arriving = (async () => {
    while (!stop) {
      (await connected(front, 'newcomer')).disconnect();
      newcomers += 1;
    }
  })();
  await until('requests and newcomers', () => asked.every(({ count }) => count > 20) && newcomers > 2);
  const sent = Date.now();
  going.kill('SIGTERM');
  await until('503 at /ready', async () => await ask(going.where, '/ready') === 503);
  if (proxy === 'haproxy') {
    const told = await until('HAProxy to take the server out', async () => {
      const it = await seen('number0');
      return it.status.startsWith('DOWN') && it;
    }, DELAY_MS);
    assert.equal(told.code, '503');
    assert.equal(await ask(going.where, '/health'), 200, 'its listener is open when HAProxy has seen it');
    say(`HAProxy saw 503 ${Date.now() - sent} ms after SIGTERM; the listener closes after ${DELAY_MS} ms`);
  }
  assert.equal(await within(30_000, going.ended, 'the end of the server'), 0);
  const counts = asked.map(({ count }) => count);
  const before = newcomers;
  await until('requests and newcomers after it', () => newcomers > before + 2
    && asked.every(({ count }, index) => count > counts[index] + 20));
  stop = true;
  asked.forEach((each) => { each.stop = true; });
  await Promise.all([arriving, ...asked.map(({ done }) => done)]);
  for (const { failures } of asked) assert.deepEqual(failures, []);
  await until('all clients again', () => clients.every((client) => client.state === 'connected'));
  const codes = dropped.flat();
  assert.ok(codes.length > 0 && codes.every((code) => code === 3001), `they were told ${codes}`);
  assert.equal(await ask(staying.where, '/ready'), 200);
  clients.forEach((client) => client.disconnect());
  say(`drained: ${asked.map(({ count }) => count)} requests and ${newcomers} newcomers, none failed; `
    + `${codes.length} of ${clients.length} clients were told 3001 and came back`);
}

/** Clients that only answer pings. */
async function idles(front) {
  const clients = await Promise.all(Array.from({ length: 5 }, (_, index) => connected(front, `idle${index}`)));
  const lost = [];
  clients.forEach((client) => client.on('connecting', ({ code, reason }) => lost.push(`${code} ${reason}`)));
  await sleep(IDLE_MS);
  assert.deepEqual(lost, []);
  assert.ok(clients.every((client) => client.state === 'connected'));
  clients.forEach((client) => client.disconnect());
  say(`${clients.length} clients that only answered pings were connected after ${IDLE_MS / 1000} s`);
}

/** With a limit below the ping interval the proxy cuts them: the limit is what it is taken for. */
async function cuts(upstream) {
  const front = await started([upstream], (text) => replace(text, '75s', '2s'));
  const client = await connected(front, 'cut');
  const { code } = await next(client, 'connecting', 20_000);
  assert.ok(code < 3000, `by the transport, not by the server: ${code}`);
  client.disconnect();
  await ended(front.child);
  say('a limit below the ping interval cuts them');
}

const [first, second] = await freePorts(2);
const at = (port) => ({ host: '127.0.0.1', port });
const going = await corecast(`127.0.0.1:${first}`, at(first));
const staying = await corecast(`127.0.0.1:${second}`, at(second));
const onSocket = await corecast(`unix:${own}/corecast.sock`, { socketPath: `${own}/corecast.sock` });

const steady = await started([`127.0.0.1:${second}`]);
const idle = idles(steady);
idle.catch(() => {});
await works(steady, staying);
say('clients, the server API, origins and addresses, by the example');
const unix = await started([{ nginx: 'unix:', haproxy: 'unix@', caddy: 'unix/' }[proxy] + `${own}/corecast.sock`]);
await works(unix, onSocket);
await ended(unix.child);
say('the same by a Unix socket');
// Caddy has no limit of the kind.
if (proxy !== 'caddy') await cuts(`127.0.0.1:${second}`);
const both = await started([first, second].map((port) => `127.0.0.1:${port}`));
await drains(both, going, staying);
await ended(both.child);
await idle;
await ended(steady.child);
for (const server of [staying, onSocket]) {
  server.kill('SIGTERM');
  assert.equal(await within(30_000, server.ended, 'the end of a server'), 0);
}
say('OK');
process.exit(0);
