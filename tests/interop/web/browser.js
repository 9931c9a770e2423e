// Has headless Chromium open the page, which is a client, and prints what the page tells.
//
// The page is from http://localhost, whose pages are served; to offend, it is from elsewhere.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const FILES = {
  "/page.html": "text/html",
  "/client.js": "text/javascript",
  "/websocket.js": "text/javascript",
  "/frame.js": "text/javascript",
};

const ELSEWHERE = "elsewhere.example";

const PATIENCE_MS = 120_000;

const parameters = process.argv.slice(2);
const host = parameters[1] === "offend" ? ELSEWHERE : "localhost";

let tell;
const told = new Promise((resolve) => {
  tell = resolve;
});

const server = createServer(async (request, response) => {
  const path = request.url.split("?")[0];
  if (path === "/told") {
    tell(await text(request));
  } else if (path in FILES) {
    response.setHeader("content-type", FILES[path]);
    response.write(readFileSync(new URL(`.${path}`, import.meta.url)));
  } else {
    response.statusCode = 404;
  }
  response.end();
});
server.listen(0, "127.0.0.1");
await once(server, "listening");

const query = new URLSearchParams(parameters.map((value) => ["argument", value]));
const profile = mkdtempSync(join(tmpdir(), "kerolox-browser-"));
const options = [
  "--headless",
  // Its sandbox does not work as root, nor in every container.
  "--no-sandbox",
  "--disable-dev-shm-usage",
  `--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`,
  `--user-data-dir=${profile}`,
];
const url = `http://${host}:${server.address().port}/page.html?${query}`;
const browser = spawn("chromium", [...options, url], {
  // A group of its own, with all processes that it starts.
  detached: true,
  stdio: ["ignore", "ignore", "pipe"],
});
let log = "";
browser.stderr.on("data", (data) => {
  log += data;
});
browser.on("close", () => tell(`Chromium has ended: ${log}`));
const timer = setTimeout(() => tell(`the page tells nothing: ${log}`), PATIENCE_MS);

console.log(await told);

clearTimeout(timer);
if (browser.exitCode === null) {
  process.kill(-browser.pid, "SIGKILL");
  await once(browser, "close");
}
rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
server.close();
server.closeAllConnections();
