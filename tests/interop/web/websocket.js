// A transport over WebSocket, with whatever class of WebSockets there is.

import { decode, encode } from "./frame.js";

const CODES = { SEND_MESSAGE: 10, PULL_MESSAGE: 11 };

/** Opens a WebSocket. */
export function connect(WebSocket, address) {
  const socket = new WebSocket(`ws://${address}/v1/frames`);
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(new Frames(socket));
    socket.onclose = () => reject(new Error("no WebSocket was opened"));
  });
}

/** Each message of the socket is a frame. */
class Frames {
  constructor(socket) {
    this.socket = socket;
    this.asked = 0;
    this.waiting = new Map();
    this.closed = new Promise((resolve) => {
      socket.onclose = (event) => resolve(`closed with ${event.code}`);
    });
    socket.onmessage = (message) => {
      const { header, body } = decode(message.data);
      // Requests of the server have numbers of its own.
      if (header.flag & 1) this.waiting.get(header.opaque)?.({ ...header, body });
    };
  }

  /** Asks and waits for the answer: its header, with its body. */
  ask(name, extFields, text = "") {
    const opaque = this.asked++;
    const caller = { language: "OTHER", version: 513 };
    const header = { ...caller, code: CODES[name], opaque, flag: 0, extFields };
    const answer = new Promise((resolve) => this.waiting.set(opaque, resolve));
    this.socket.send(encode(header, text));
    const failed = this.closed.then((how) => Promise.reject(new Error(how)));
    return Promise.race([answer, failed]);
  }

  /** Sends text, which is no frame. */
  offend() {
    this.socket.send("this is no frame");
    return this.closed;
  }

  close() {
    this.socket.close();
  }
}
