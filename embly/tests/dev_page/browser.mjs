// Looks at a page of an error until it has shown itself anew: node browser.mjs URL CHROMIUM [PICTURE light|dark WIDTH]
//
// Chromium is driven over its pipe (the DevTools protocol: JSON, each message ended by a zero byte).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [url, chromium, picture, scheme = "light", width = "390"] = process.argv.slice(2);
const WITHIN = 60_000;
const folder = mkdtempSync(join(tmpdir(), "page-"));
const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", `--user-data-dir=${folder}`, "about:blank"];
const browser = spawn(chromium, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
const waiting = new Map();
const wrong = [];
let last = 0;
let rest = "";
browser.stdio[4].setEncoding("utf8").on("data", (data) => {
  const messages = (rest + data).split("\0");
  rest = messages.pop();
  for (const message of messages) {
    const { id, result, error, method, params } = JSON.parse(message);
    // What the page's policy has kept from being done is an entry of the log. A status is one as well.
    if (method === "Log.entryAdded" && params.entry.source !== "network") wrong.push(params.entry.text);
    if (error) waiting.get(id)?.reject(new Error(error.message));
    else waiting.get(id)?.resolve(result);
    waiting.delete(id);
  }
});

function send(method, params = {}, sessionId) {
  const id = ++last;
  browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

try {
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const page = (method, params) => send(method, params, sessionId);
  const is = async (expression) => {
    const { result } = await page("Runtime.evaluate", { expression, returnByValue: true });
    return result.value;
  };
  const until = async (expression) => {
    const end = Date.now() + WITHIN;
    // Between two pages there is nothing to ask.
    while (!(await is(expression).catch(() => false))) {
      assert(Date.now() < end, `never: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await page("Log.enable");
  await page("Emulation.setDeviceMetricsOverride", { width: Number(width), height: 900, deviceScaleFactor: 1, mobile: width < 500 });
  await page("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  await page("Page.navigate", { url });
  await until(`document.readyState === "complete" && document.getElementById("state") !== null`);
  // Its style is its own, and nothing is wider than a phone.
  assert.notEqual(await is(`getComputedStyle(document.querySelector(".what")).color`), "rgb(0, 0, 0)");
  assert(await is("document.documentElement.scrollWidth <= innerWidth"));
  if (picture) {
    const { data } = await page("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    writeFileSync(picture, Buffer.from(data, "base64"));
  } else {
    console.log("shown");
    await until(`document.body?.innerText === "mended"`);
  }
  assert.deepEqual(wrong, []);
  console.log("as it should be");
} finally {
  browser.kill();
  await new Promise((resolve) => browser.once("exit", resolve));
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
