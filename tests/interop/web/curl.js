// A client by curl, which calls commands as JSON over HTTP/2.

import { execFileSync } from "node:child_process";
import { run } from "./client.js";

const [address, ...action] = process.argv.slice(2);

/** Posts JSON to a command; the answer, with the status. */
function post(name, json) {
  const format = "\n%{http_version} %{http_code}";
  const options = ["--silent", "--show-error", "--max-time", "30", "--write-out", format];
  // The JSON is read from the standard input.
  const request = ["--http2-prior-knowledge", "--json", "@-", `http://${address}/v1/commands/${name}`];
  const printed = execFileSync("curl", [...options, ...request], { input: json, encoding: "utf8" });
  const [answer, status] = printed.split("\n");
  return { status: `HTTP/${status}`, ...JSON.parse(answer) };
}

const transport = {
  ask(name, extFields, text) {
    const answer = post(name, JSON.stringify({ extFields, body: text }));
    if (answer.status !== "HTTP/2 200") throw new Error(`${answer.status}: ${answer.error}`);
    const body = Buffer.from(answer.bodyBase64 ?? "", "base64");
    return { ...answer, body: Uint8Array.from(body).buffer };
  },

  /** Posts what is no JSON. */
  offend() {
    return post("SEND_MESSAGE", "{").status;
  },
};

console.log(await run(transport, ...action));
