// What both Node peers do alike: read --port, say ready, stop on SIGTERM.
import { parseArgs } from 'node:util';

export const host = '127.0.0.1';
export const limits = { messageBytes: 64 * 1024, backlogBytes: 1024 * 1024, pingMs: 25_000, pongMs: 8_000 };

export const options = parseArgs({
  options: { port: { type: 'string' }, redis: { type: 'string' } },
}).values;

export function refuse(error) {
  console.error(error.code === 'EADDRINUSE' ? `port ${options.port} is in use` : error.message);
  process.exit(1);
}

export function listen(server) {
  server.on('error', refuse);
  server.listen(Number(options.port), host, 16_384, () => console.log('ready'));
}

process.on('SIGTERM', () => process.exit(0));
