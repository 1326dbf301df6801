// How the board bears many: node load.mjs URL [WATCHERS] [AUTHORS] [POSTS]
//
// WATCHERS look on over WebSockets; each of AUTHORS registers and says POSTS things, one after the
// other, as fast as they are seen. Told is how long it takes from sending until the author, and until
// everyone, has seen a post.

import { connect } from "node:net";
import { randomBytes } from "node:crypto";

const url = new URL(process.argv[2]);
const [watchers, authors, posts] = [200, 8, 20].map((usual, n) => Number(process.argv[3 + n] ?? usual));

/** A WebSocket that speaks text of less than 64 KiB; enough of RFC 6455 for the board. */
class Socket {
  static open(cookie, heard) {
    return new Promise((resolve, reject) => {
      const socket = new Socket();
      socket.net = connect(url.port || 80, url.hostname);
      const lines = ["GET /board HTTP/1.1", `Host: ${url.host}`, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`];
      if (cookie) lines.push(`Cookie: ${cookie}`);
      socket.net.write(lines.join("\r\n") + "\r\n\r\n");
      let rest = Buffer.alloc(0);
      let open = false;
      socket.net.on("error", reject);
      socket.net.on("close", () => reject(new Error("closed")));
      socket.net.on("data", (data) => {
        rest = Buffer.concat([rest, data]);
        if (!open) {
          const end = rest.indexOf("\r\n\r\n");
          if (end < 0) return;
          if (!rest.subarray(0, 12).equals(Buffer.from("HTTP/1.1 101"))) return reject(new Error(rest.subarray(0, end).toString()));
          rest = rest.subarray(end + 4);
          open = true;
          resolve(socket);
        }
        for (;;) {
          if (rest.length < 2) return;
          let length = rest[1] & 127;
          const start = length === 126 ? 4 : length === 127 ? 10 : 2;
          if (rest.length < start) return;
          if (length === 126) length = rest.readUInt16BE(2);
          if (length === 127) length = Number(rest.readBigUInt64BE(2));
          if (rest.length < start + length) return;
          const kind = rest[0] & 15;
          const payload = rest.subarray(start, start + length);
          rest = rest.subarray(start + length);
          if (kind === 1) heard(JSON.parse(payload.toString()));
          if (kind === 9) socket.frame(10, payload);
        }
      });
    });
  }

  frame(kind, payload) {
    const mask = randomBytes(4);
    const length = payload.length < 126 ? Buffer.from([payload.length | 128]) : Buffer.from([126 | 128, payload.length >> 8, payload.length & 255]);
    this.net.write(Buffer.concat([Buffer.from([128 | kind]), length, mask, payload.map((byte, n) => byte ^ mask[n & 3])]));
  }

  say(text) {
    this.frame(1, Buffer.from(JSON.stringify({ text })));
  }
}

const begun = new Map();
const seen = new Map();
const bySelf = [];
const byAll = [];
let refused = 0;

/** Everyone who looks on counts what comes. */
function saw({ post }) {
  if (!post || !begun.has(post.text)) return;
  const count = (seen.get(post.text) ?? 0) + 1;
  seen.set(post.text, count);
  if (count === watchers + authors) byAll.push(performance.now() - begun.get(post.text));
}

function spread(times) {
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))]?.toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`;
}

const start = performance.now();
for (let n = 0; n < watchers; n += 50) {
  await Promise.all(Array.from({ length: Math.min(50, watchers - n) }, () => Socket.open(null, saw)));
}
console.log(`${watchers} look on after ${((performance.now() - start) / 1000).toFixed(2)} s`);

const run = randomBytes(4).toString("hex");
async function author(n) {
  const name = `load-${run}-${n}`;
  const body = JSON.stringify({ username: name, email: `${name}@example.test`, password: "correct horse" });
  const answer = await fetch(new URL("/api/auth/register", url), { method: "POST", headers: { "content-type": "application/json" }, body });
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
  let told;
  const socket = await Socket.open(answer.headers.get("set-cookie").split(";")[0], (message) => {
    saw(message);
    if (message.refused) refused += 1;
    if (message.refused || message.post?.author === name) told?.();
  });
  return async () => {
    for (let post = 0; post < posts; post += 1) {
      const text = `${name} says ${post}`;
      const since = performance.now();
      begun.set(text, since);
      const next = new Promise((resolve) => (told = resolve));
      socket.say(text);
      await next;
      bySelf.push(performance.now() - since);
    }
  };
}

const speakers = [];
for (let n = 0; n < authors; n += 1) speakers.push(await author(n));
const spoke = performance.now();
await Promise.all(speakers.map((speak) => speak()));
const took = (performance.now() - spoke) / 1000;
const end = performance.now() + 10_000;
while (byAll.length + refused < begun.size && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
console.log(`${begun.size} posts of ${authors} authors in ${took.toFixed(2)} s: ${(begun.size / took).toFixed(0)} a second, each seen by ${watchers + authors}`);
console.log(`seen by its author: ${spread(bySelf)}`);
console.log(`seen by everyone: ${spread(byAll)}`);
console.log(`refused ${refused}, not seen by everyone ${begun.size - refused - byAll.length}`);
process.exit(begun.size - refused - byAll.length === 0 ? 0 : 1);
