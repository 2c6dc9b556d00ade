// The backend of live prices: serves the page, makes prices up, and publishes them.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const { PORT = 8001, CORECAST_URL = 'http://127.0.0.1:8000' } = process.env;
const files = {
  '/': ['./index.html', 'text/html'],
  '/centrifuge.js': ['../../src/http/assets/vendor/centrifuge-5.8.0.js', 'text/javascript'],
};

createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const file = files[pathname];
  if (pathname === '/where') return response.end(CORECAST_URL);
  if (!file) return response.writeHead(404).end();
  response.setHeader('Content-Type', file[1]);
  response.end(await readFile(new URL(file[0], import.meta.url)));
}).listen(PORT, '127.0.0.1', () => console.log(`open http://127.0.0.1:${PORT}`));

/** One call of the server API. */
async function call(method, body) {
  const answer = await fetch(`${CORECAST_URL}/api/${method}`, {
    method: 'POST',
    headers: { 'X-API-Key': 'only-for-the-examples' },
    body: JSON.stringify(body),
  });
  const { error } = await answer.json();
  if (error) throw new Error(`${method}: ${error.code} ${error.message}`);
}

const symbols = ['ALFA', 'BRVO', 'CHRL', 'DLTA', 'ECHO', 'FXTR', 'GOLF', 'HOTL'];
const prices = Object.fromEntries(symbols.map((symbol, at) => [symbol, 100 + at * 10]));

/** A trade of one symbol moves its price; subscribers are sent the table, or what is new in it. */
async function trade(number) {
  const symbol = symbols[number % symbols.length];
  const size = Math.ceil(Math.random() * 500);
  prices[symbol] = Math.round((prices[symbol] + Math.random() - 0.5) * 100) / 100;
  await call('publish', { channel: 'prices:all', data: { prices }, delta: true });
  await call('publish', {
    channel: 'trades:all',
    data: { symbol, size, price: prices[symbol] },
    tags: { symbol, size: String(size) },
  });
}

for (let number = 0; ; number += 1) {
  await trade(number).catch((error) => console.error(error.message));
  await new Promise((resolve) => setTimeout(resolve, 100));
}
