// Looks at a page of an error until it has shown itself anew: node browser.mjs URL CHROMIUM [PICTURE light|dark WIDTH]

import assert from "node:assert/strict";

import { Browser } from "../../../app/tests/chromium.mjs";

const [url, chromium, picture, scheme = "light", width = "390"] = process.argv.slice(2);
const browser = Browser.start(chromium);
try {
  const page = await browser.page(url, { width: Number(width), height: 900, scheme });
  await page.until(`document.readyState === "complete" && document.getElementById("state") !== null`);
  // Its style is its own, and nothing is wider than a phone.
  assert.notEqual(await page.is(`getComputedStyle(document.querySelector(".what")).color`), "rgb(0, 0, 0)");
  assert(await page.is("document.documentElement.scrollWidth <= innerWidth"));
  if (picture) {
    await page.picture(picture, { captureBeyondViewport: true });
  } else {
    console.log("shown");
    await page.until(`document.body?.innerText === "mended"`);
  }
  // A status is an entry of the log as well.
  assert.deepEqual(browser.logged.filter(({ source }) => source !== "network"), []);
  console.log("as it should be");
} finally {
  await browser.close();
}
