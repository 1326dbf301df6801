// What a person does with the board in a browser: node browser.mjs URL CHROMIUM [FOLDER FOR PICTURES]

import assert from "node:assert/strict";
import { join } from "node:path";

import { Browser } from "./chromium.mjs";

const [url, chromium, pictures] = process.argv.slice(2);
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
  await picture(page, "door");
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

const picture = (page, name) => pictures && page.picture(join(pictures, `${name}.png`));

const browser = Browser.start(chromium);

async function person(options) {
  const page = await browser.page(url, options);
  await page.until(`document.getElementById("state")?.dataset.state === "live"`);
  return page;
}

try {
  const ann = await person();
  await ann.until(`!document.getElementById("invite").hidden`);
  await picture(ann, "empty");
  const bea = await person({ width: 390, height: 780, scheme: "dark" });
  await register(ann, "ann");
  await register(bea, "bea");

  await say(ann, "Hello from a desk");
  await bea.until(has("Hello from a desk"));
  await say(bea, "And from a phone, in the dark: <b>no markup</b> & ünïcode");
  await ann.until(has("And from a phone, in the dark: <b>no markup</b> & ünïcode"));
  await picture(ann, "board");
  await picture(bea, "phone");

  // Nobody can read the cookie, and nothing is wider than the phone.
  assert.equal(await ann.is("document.cookie"), "");
  assert(await bea.is("document.documentElement.scrollWidth <= innerWidth"));

  await ann.is("document.activeElement.blur()");
  await ann.press("/", { text: "/" });
  await ann.until(focused("#question"));
  await ann.type("unicode pho");
  await ann.until(`document.querySelectorAll("mark").length > 0 && document.querySelectorAll(".post").length === 1`);
  await picture(ann, "search");
  await ann.press("Escape");
  await ann.until(has("Hello from a desk"));

  await bea.is(`location.href = "/u/ann"`);
  await bea.until(`location.pathname === "/u/ann" && ${has("Hello from a desk")}`);
  assert.equal(await bea.is(`document.querySelector("h1").textContent`), "ann");
  await picture(bea, "person");

  await ann.is(`document.getElementById("leave").click()`);
  await ann.until(`!document.getElementById("invite").hidden && document.getElementById("say").hidden`);
  assert.equal(await ann.is(`fetch("/api/auth/user").then((answer) => answer.status)`), 401);
  console.log("all as it should be");
} finally {
  await browser.close();
}
