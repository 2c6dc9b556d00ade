// The chat's backend: serves the page, and issues a token to everyone who enters a name.
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const { PORT = 8001, CORECAST_URL = 'http://127.0.0.1:8000' } = process.env;
const SECRET = 'only-for-the-examples-never-elsewhere'; // client.token_hmac_secret
const files = {
  '/': ['./index.html', 'text/html'],
  '/centrifuge.js': ['../../src/http/assets/vendor/centrifuge-5.8.0.js', 'text/javascript'],
};

/** A JSON Web Token, signed with HS256; any JWT library makes the same. */
function token(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const file = files[pathname];
  if (file) {
    response.setHeader('Content-Type', file[1]);
    return response.end(await readFile(new URL(file[0], import.meta.url)));
  }
  if (pathname !== '/token') return response.writeHead(404).end();
  const name = searchParams.get('name') ?? '';
  // A real backend takes the user from its own session, not from the request.
  if (!/^[\w-]{1,20}$/.test(name)) return response.writeHead(400).end();
  const exp = Math.floor(Date.now() / 1000) + 600; // The SDK fetches another before it expires.
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ token: token({ sub: name, exp }), url: CORECAST_URL }));
}).listen(PORT, '127.0.0.1', () => console.log(`open http://127.0.0.1:${PORT}`));
