// What a person does with the board in a browser: node browser.mjs URL CHROMIUM [FOLDER FOR PICTURES]
//
// Chromium is driven over its pipe (the DevTools protocol: JSON, each message ended by a zero byte).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [url, chromium, pictures] = process.argv.slice(2);
const WITHIN = 60_000;

class Browser {
  static start(folder) {
    const browser = new Browser();
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", `--user-data-dir=${folder}`, "about:blank"];
    browser.process = spawn(chromium, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    browser.waiting = new Map();
    browser.last = 0;
    let rest = "";
    browser.process.stdio[4].setEncoding("utf8").on("data", (data) => {
      const messages = (rest + data).split("\0");
      rest = messages.pop();
      for (const message of messages) browser.heard(JSON.parse(message));
    });
    return browser;
  }

  heard({ id, result, error }) {
    const one = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) one?.reject(new Error(error.message));
    else one?.resolve(result);
  }

  send(method, params = {}, sessionId) {
    const id = ++this.last;
    this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  /** A page of somebody with cookies of their own. */
  async person({ width = 1000, height = 800, scheme = "light", phone = false } = {}) {
    const { browserContextId } = await this.send("Target.createBrowserContext");
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    await page.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: phone });
    await page.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }],
    });
    await page.send("Page.navigate", { url });
    await page.until(`document.getElementById("state")?.dataset.state === "live"`);
    return page;
  }
}

class Page {
  constructor(browser, session) {
    Object.assign(this, { browser, session });
  }

  send(method, params) {
    return this.browser.send(method, params, this.session);
  }

  async is(script) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression: script, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${script}: ${exceptionDetails.exception?.description}`);
    return result.value;
  }

  async until(script) {
    const end = Date.now() + WITHIN;
    // Between two pages there is nothing to ask.
    while (!(await this.is(script).catch(() => false))) {
      assert(Date.now() < end, `never: ${script}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async press(key, { code, text, control } = {}) {
    const what = { key, code, text, windowsVirtualKeyCode: { Enter: 13, Escape: 27, Tab: 9 }[key], modifiers: control ? 2 : 0 };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...what });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...what, text: undefined });
  }

  type(text) {
    return this.send("Input.insertText", { text });
  }

  async picture(name) {
    if (!pictures) return;
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    mkdirSync(pictures, { recursive: true });
    writeFileSync(join(pictures, `${name}.png`), Buffer.from(data, "base64"));
  }
}

const has = (text) => `[...document.querySelectorAll(".post p")].some((p) => p.textContent === ${JSON.stringify(text)})`;
const focused = (name) => `document.activeElement?.matches(${JSON.stringify(name)})`;

async function register(page, name) {
  // With keys alone.
  await page.press("n", { text: "n" });
  await page.until(`document.getElementById("door").open`);
  await page.is(`document.getElementById("other").click()`);
  await page.until(focused("[name=username]"));
  await page.type("x");
  await page.press("Enter", { text: "\r" });
  await page.until(`document.getElementById("wrong").textContent === "email is missing"`);
  await page.picture("door");
  for (const [field, text] of [["username", name], ["email", `${name}@example.test`], ["password", "correct horse"]]) {
    await page.is(`document.querySelector("[name=${field}]").select()`);
    await page.type(text);
  }
  await page.press("Enter", { text: "\r" });
  await page.until(`document.getElementById("me").textContent === ${JSON.stringify(name)}`);
  await page.until(`document.getElementById("state").dataset.state === "live" && ${focused("#text")}`);
}

async function say(page, text) {
  await page.is(`document.getElementById("text").focus()`);
  await page.type(text);
  await page.press("Enter", { control: true });
  await page.until(has(text));
  await page.until(`document.getElementById("text").value === ""`);
}

const folder = mkdtempSync(join(tmpdir(), "board-"));
const browser = Browser.start(folder);
try {
  const ann = await browser.person();
  await ann.until(`!document.getElementById("invite").hidden`);
  await ann.picture("empty");
  const bea = await browser.person({ width: 390, height: 780, scheme: "dark", phone: true });
  await register(ann, "ann");
  await register(bea, "bea");

  await say(ann, "Hello from a desk");
  await bea.until(has("Hello from a desk"));
  await say(bea, "And from a phone, in the dark: <b>no markup</b> & ünïcode");
  await ann.until(has("And from a phone, in the dark: <b>no markup</b> & ünïcode"));
  await ann.picture("board");
  await bea.picture("phone");

  // Nobody can read the cookie, and nothing is wider than the phone.
  assert.equal(await ann.is("document.cookie"), "");
  assert(await bea.is("document.documentElement.scrollWidth <= innerWidth"));

  await ann.is("document.activeElement.blur()");
  await ann.press("/", { text: "/" });
  await ann.until(focused("#question"));
  await ann.type("unicode pho");
  await ann.until(`document.querySelectorAll("mark").length > 0 && document.querySelectorAll(".post").length === 1`);
  await ann.picture("search");
  await ann.press("Escape");
  await ann.until(has("Hello from a desk"));

  await bea.is(`location.href = "/u/ann"`);
  await bea.until(`location.pathname === "/u/ann" && ${has("Hello from a desk")}`);
  assert.equal(await bea.is(`document.querySelector("h1").textContent`), "ann");
  await bea.picture("person");

  await ann.is(`document.getElementById("leave").click()`);
  await ann.until(`!document.getElementById("invite").hidden && document.getElementById("say").hidden`);
  assert.equal(await ann.is(`fetch("/api/auth/user").then((answer) => answer.status)`), 401);
  console.log("all as it should be");
} finally {
  browser.process.kill();
  await new Promise((resolve) => browser.process.once("exit", resolve));
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
