// npm `ws` as a peer: raw echo at /echo, rooms at /room/NAME. Compression off and bufferutil beside
// it, as its documentation advises; a broadcast is its documented loop over the clients.
import { createServer } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';
import { limits, listen, refuse } from './start.mjs';

const server = createServer();
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: false,
  maxPayload: limits.messageBytes,
});
sockets.on('error', refuse);
const rooms = new Map();

function join(name, socket) {
  const members = rooms.get(name) ?? new Set();
  rooms.set(name, members.add(socket));
  socket.on('message', (message, binary) => {
    for (const member of members) {
      if (member === socket || member.readyState !== WebSocket.OPEN) continue;
      if (member.bufferedAmount > limits.backlogBytes) member.terminate();
      else member.send(message, { binary });
    }
  });
  socket.on('close', () => {
    members.delete(socket);
    if (members.size === 0) rooms.delete(name);
  });
}

sockets.on('connection', (socket, request) => {
  socket.on('error', () => socket.terminate());
  socket.alive = true;
  socket.on('pong', () => (socket.alive = true));
  if (request.url === '/echo') {
    socket.on('message', (message, binary) => socket.send(message, { binary }));
  } else if (request.url.startsWith('/room/')) {
    join(request.url.slice('/room/'.length), socket);
  } else {
    socket.close(1008);
  }
});

// The documented way to find dead connections.
setInterval(() => {
  for (const socket of sockets.clients) {
    if (!socket.alive) socket.terminate();
    socket.alive = false;
    socket.ping();
  }
}, limits.pingMs);

listen(server);
