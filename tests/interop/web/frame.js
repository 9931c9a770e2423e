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

// Where the length of the body is in a stored message whose hosts are IPv4.
const BODY_LENGTH_AT = 84;

/** The bodies, as text, of the stored messages that a pull was answered with. */
export function bodies(records) {
  const view = new DataView(records);
  const found = [];
  for (let at = 0; at < records.byteLength; at += view.getUint32(at)) {
    const length = view.getUint32(at + BODY_LENGTH_AT);
    found.push(decoder.decode(new Uint8Array(records, at + BODY_LENGTH_AT + 4, length)));
  }
  return found;
}
