// Drives Chromium over its pipe (the DevTools protocol: JSON, each message ended by a zero byte).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const WITHIN = 60_000;

export class Browser {
  /** With a profile of its own, which is gone when it is closed. */
  static start(chromium) {
    const browser = new Browser();
    browser.folder = mkdtempSync(join(tmpdir(), "browser-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", `--user-data-dir=${browser.folder}`, "about:blank"];
    browser.process = spawn(chromium, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    browser.waiting = new Map();
    browser.last = 0;
    /** What pages have logged: what their policy has kept from being done is there as well. */
    browser.logged = [];
    let rest = "";
    browser.process.stdio[4].setEncoding("utf8").on("data", (data) => {
      const messages = (rest + data).split("\0");
      rest = messages.pop();
      for (const message of messages) browser.heard(JSON.parse(message));
    });
    return browser;
  }

  heard({ id, result, error, method, params }) {
    if (method === "Log.entryAdded") this.logged.push(params.entry);
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
  async page(url, { width = 1000, height = 800, scheme = "light" } = {}) {
    const { browserContextId } = await this.send("Target.createBrowserContext");
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    await page.send("Log.enable");
    await page.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 500 });
    await page.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }, { name: "prefers-reduced-motion", value: "reduce" }],
    });
    await page.send("Page.navigate", { url });
    return page;
  }

  async close() {
    this.process.kill();
    await new Promise((resolve) => this.process.once("exit", resolve));
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Page {
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

  async picture(file, options) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", ...options });
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, Buffer.from(data, "base64"));
  }
}
