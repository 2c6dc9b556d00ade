// The three codecs of the protocol as a client has them. JSON and Protobuf are the SDK's own; for
// MessagePack there is no SDK, so npm `msgpackr` is put where the SDK's codec is.
import { readFileSync } from 'node:fs';
import { Centrifuge as Json } from 'centrifuge';
import { Centrifuge as Protobuf } from 'centrifuge/build/protobuf';
import { Packr, Unpackr } from 'msgpackr';

const schema = JSON.parse(readFileSync(new URL('schema.json', import.meta.url), 'utf8'));
const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ mapsAsObjects: false, useRecords: false, int64AsType: 'number' });

/** Maps with names as keys become objects, at any depth. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)]));
}

/** A message with names as keys becomes one with the schema's numbers. */
function numbered(type, message) {
  const fields = new Map();
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined || value === null) continue;
    if (!schema[type][name]) throw new Error(`${type} has no field ${name}`);
    const [number, inner, many] = schema[type][name];
    fields.set(number, !inner ? value
      : many === 'list' ? value.map((each) => numbered(inner, each))
      : many === 'map' ? new Map(Object.entries(value).map(([key, each]) => [key, numbered(inner, each)]))
      : numbered(inner, value));
  }
  return fields;
}

/** The reverse; fields of other numbers are passed over. */
function named(type, fields) {
  const message = {};
  for (const [name, [number, inner, many]] of Object.entries(schema[type])) {
    const value = fields.get(number);
    if (value === undefined) continue;
    message[name] = !inner ? plain(value)
      : many === 'list' ? value.map((each) => named(inner, each))
      : many === 'map' ? Object.fromEntries([...value].map(([key, each]) => [key, named(inner, each)]))
      : named(inner, value);
  }
  return message;
}

class MessagePackCodec {
  name() { return 'msgpack'; }

  encodeCommands(commands) {
    return Buffer.concat(commands.map((command) => packr.pack(numbered('Command', command))));
  }

  decodeReplies(data) {
    return unpackr.unpackMultiple(Buffer.from(data)).map((reply) => named('Reply', reply));
  }

  applyDeltaIfNeeded(pub, previous) {
    return new Protobuf('ws://unused')._codec.applyDeltaIfNeeded(pub, previous);
  }
}

class MessagePack extends Json {
  _formatOverride() { this._codec = new MessagePackCodec(); }
}

const asIs = (value) => value;

/**
 * `pack` makes of a value what this codec's applications publish, `unpack` the reverse;
 * `subprotocol` is what the codec's bytes are asked for with, `malformed` what is none of its messages.
 */
export const codecs = {
  json: { name: 'json', Sdk: Json, subprotocol: undefined, binary: false, pack: asIs, unpack: asIs, malformed: [
    Buffer.from('{"id":2,"publish":'), Buffer.from('{"id":2,"levitate":{}}'),
  ] },
  protobuf: {
    name: 'protobuf',
    Sdk: Protobuf,
    subprotocol: 'centrifuge-protobuf',
    binary: true,
    pack: (value) => new TextEncoder().encode(JSON.stringify(value)),
    unpack: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
    malformed: [Buffer.from([5, 8, 2]), Buffer.from([2, 0x6a, 0x7f]), Buffer.from([4, 8, 2, 0xfa, 0x7f])],
  },
  msgpack: {
    name: 'msgpack',
    Sdk: MessagePack,
    subprotocol: 'corecast.v1.msgpack',
    binary: true,
    pack: asIs,
    // Where deltas were agreed on, every value is the bytes of its JSON text.
    unpack: (value) => (value instanceof Uint8Array ? codecs.protobuf.unpack(value) : value),
    malformed: [Buffer.from([0xc1]), Buffer.from([0x82, 1, 2, 13]), Buffer.from([0x93, 1, 2, 3])],
  },
};
for (const codec of Object.values(codecs)) codec.codec = new codec.Sdk('ws://unused')._codec;
