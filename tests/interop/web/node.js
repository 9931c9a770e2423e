// A client in Node, over the WebSockets of `ws`.

import { WebSocket } from "ws";
import { run } from "./client.js";
import { connect } from "./websocket.js";

const [address, ...action] = process.argv.slice(2);
const transport = await connect(WebSocket, address);
console.log(await run(transport, ...action));
transport.close();
