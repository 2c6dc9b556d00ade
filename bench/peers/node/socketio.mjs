// `socket.io` as a peer: events `join` [room], `m` [payload] to the rest of the room, `echo`
// [payload] answered by `echo`. WebSocket alone, bufferutil beside it and the first request dropped,
// as its page on performance advises. With --redis URL through the Redis adapter.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { limits, listen, options } from './start.mjs';

const server = createServer();
const io = new Server(server, {
  transports: ['websocket'],
  serveClient: false,
  perMessageDeflate: false,
  maxHttpBufferSize: limits.messageBytes,
  pingInterval: limits.pingMs,
  pingTimeout: limits.pongMs,
});

if (options.redis) {
  const publisher = createClient({ url: options.redis });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

io.engine.on('connection', (socket) => {
  socket.request = null;
});

io.on('connection', (socket) => {
  socket.on('join', async (room, done) => {
    await socket.join(room);
    socket.data.room = room;
    done?.();
  });
  socket.on('m', (payload) => socket.to(socket.data.room).emit('m', payload));
  socket.on('echo', (payload) => socket.emit('echo', payload));
});

listen(server);
