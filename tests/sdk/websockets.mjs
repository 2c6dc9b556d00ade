// The WebSocket implementations that the SDKs run over, each with a way to cut its TCP connection.
import { Agent, WebSocket as Undici, buildConnector } from 'undici';
import Ws from 'ws';

/**
 * Each makes a WebSocket class for a codec, and hands out how to cut the connection that was made
 * last. The SDK knows the subprotocols of its own codecs; other clients are given theirs here.
 */
export const websockets = {
  ws: (codec, killer) => class extends Ws {
    constructor(url, protocols = codec.subprotocol) {
      super(url, protocols);
      if (codec.binary) this.binaryType = 'arraybuffer';
      killer(() => this.terminate());
    }
  },
  undici: (codec, killer) => class extends Undici {
    constructor(url, protocols = codec.subprotocol) {
      const dial = buildConnector({});
      let socket;
      const dispatcher = new Agent({
        connect: (options, callback) => dial(options, (error, made) => {
          socket = made;
          callback(error, made);
        }),
      });
      super(url, { protocols: protocols ?? [], dispatcher });
      if (codec.binary) this.binaryType = 'arraybuffer';
      killer(() => socket?.destroy());
    }
  },
};
