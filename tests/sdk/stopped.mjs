// A subscriber in a process of its own, so that it can be stopped: prints `subscribed`, then the
// code it was closed with.
import WebSocket from 'ws';

const [url, channel] = process.argv.slice(2);
const socket = new WebSocket(url);
socket.on('open', () => {
  socket.send(`{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":${JSON.stringify(channel)}}}`);
});
socket.on('message', (data) => {
  for (const line of data.toString().split('\n').filter(Boolean)) {
    if (line === '{}') socket.send('{}');
    else if (JSON.parse(line).id === 2) process.stdout.write('subscribed\n');
  }
});
socket.on('error', () => {});
socket.on('close', (code) => process.stdout.write(`${code}\n`));
