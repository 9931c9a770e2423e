// Remoting frames and stored messages, with nothing but what browsers and Node both have.
//
// A frame: the length of the rest, the length of the header (their top byte tells how it is
// written, 0 is JSON), the header, the body. All numbers are big-endian.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The bytes of a frame with this header, an object, and this text as its body. */
export function encode(header, text) {
  const head = encoder.encode(JSON.stringify(header));
  const body = encoder.encode(text);
  const frame = new Uint8Array(8 + head.length + body.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, frame.length - 4);
  view.setUint32(4, head.length);
  frame.set(head, 8);
  frame.set(body, 8 + head.length);
  return frame;
}

/** The header of a frame, an object, and its body, bytes. */
export function decode(frame) {
  const headLength = new DataView(frame).getUint32(4) & 0xffffff;
  const head = new Uint8Array(frame, 8, headLength);
  return { header: JSON.parse(decoder.decode(head)), body: frame.slice(8 + headLength) };
}

/** Properties as a message has them. */
export function properties(named) {
  return Object.entries(named).map(([name, value]) => `${name}\u0001${value}\u0002`).join("");
}

// Where the length of the body is in a stored message whose hosts are IPv4. Behind the body come the
// topic, with one byte for its length, and the properties, with two.
const BODY_LENGTH_AT = 84;

/** The stored messages that a pull was answered with, their bodies as text. */
export function messages(records) {
  const view = new DataView(records);
  const text = (at, length) => decoder.decode(new Uint8Array(records, at, length));
  const found = [];
  for (let at = 0; at < records.byteLength; at += view.getUint32(at)) {
    const body = at + BODY_LENGTH_AT + 4;
    const topic = body + view.getUint32(body - 4) + 1;
    const named = topic + view.getUint8(topic - 1) + 2;
    const pairs = text(named, view.getUint16(named - 2)).split("\u0002").filter((pair) => pair);
    found.push({
      body: text(body, view.getUint32(body - 4)),
      properties: Object.fromEntries(pairs.map((pair) => pair.split("\u0001"))),
    });
  }
  return found;
}
