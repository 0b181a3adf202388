// What the scenarios have in common: pages that record every problem, sign-in, checks.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };

/** Starts Chromium. */
function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
  });
}

/**
 * A browser of its own with one page. `statuses` has the error responses that arrived, which
 * Chromium also reports on its console.
 */
async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const seen = { problems: [], foreign: [], statuses: [] };
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const status = message.text().match(/^Failed to load resource: .*status of (\d+)/);
    if (status) seen.statuses.push(Number(status[1]));
    else seen.problems.push(message.text());
  });
  page.on("pageerror", (error) => seen.problems.push(String(error)));
  page.on("request", (request) => {
    const isOwn = request.url().startsWith(`${url}/`) || request.url().startsWith("data:");
    if (!isOwn) seen.foreign.push(request.url());
  });
  await page.goto(`${url}/console`);
  return { page, context, seen, url };
}

/** Ends a page, which must have had these error responses and no other problem. */
async function close({ context, seen }, statuses = []) {
  assert.deepEqual(seen.problems, [], "the console has errors or warnings");
  assert.deepEqual(seen.foreign, [], "requests leave the server");
  assert.deepEqual(seen.statuses, statuses, "other error responses than expected");
  await context.close();
}

async function signIn(page, token) {
  await page.getByLabel("Bearer token").fill(token);
  await page.getByRole("button", { name: "Use this token" }).click();
  await page.getByRole("navigation", { name: "Views" }).waitFor();
}

/** Shows a view, by its fragment, and waits until nothing is loading. */
async function show({ page, url }, fragment) {
  await page.goto(`${url}/console#/${fragment}`);
  await settled(page);
}

async function settled(page) {
  await page.locator("main h1").first().waitFor();
  await page.waitForFunction(() => !document.querySelector(".loading"));
  // The frame after the last response is drawn.
  await page.evaluate(() => new Promise((done) => setTimeout(done, 60)));
}

/** Fails if axe-core finds a violation of WCAG or of its best practices. */
async function checkAccessibility(page, what) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
  assert.ok(passes.length > 10, "axe-core has checked nothing");
  const found = violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]);
  assert.deepEqual(found, [], `axe-core: ${what}`);
}

/** Fails if the page can be scrolled sideways. */
async function checkWidth(page, what) {
  const { scrollWidth, clientWidth } = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return { scrollWidth, clientWidth };
  });
  assert.ok(scrollWidth <= clientWidth, `${what}: ${scrollWidth} px in ${clientWidth} px`);
}

/** Presses Tab until an element with this role and name has the focus. */
async function tabTo(page, role, name) {
  const wanted = page.getByRole(role, { name }).first();
  await wanted.waitFor();
  for (let presses = 0; presses < 80; presses += 1) {
    if (await wanted.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach the ${role} "${name}"`);
}

async function screenshot(page, folder, name) {
  const fullPage = name.endsWith("phone");
  if (folder) await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage });
}

/** Requests to the API, beside those of the page. */
function api(url, token) {
  return async (method, at, body, headers = {}) => {
    const response = await fetch(`${url}/core/v2/${at}`, {
      method,
      headers: {
        Authorization: `Bearer ${token}`,
        "Content-Type": "application/json",
        ...headers,
      },
      body: typeof body === "string" || body === undefined ? body : JSON.stringify(body),
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${at}: ${text}`);
    return { text, data: text ? JSON.parse(text) : null, etag: response.headers.get("etag") };
  };
}

module.exports = {
  DESKTOP,
  PHONE,
  api,
  checkAccessibility,
  checkWidth,
  close,
  launch,
  open,
  screenshot,
  settled,
  show,
  signIn,
  tabTo,
};
