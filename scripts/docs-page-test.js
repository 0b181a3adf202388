// Uses the documentation page in a browser, for scripts/docs-page-test:
//
//   node docs-page-test.js URL PROFILE_FOLDER [SCREENSHOT]
const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const [base, profile, screenshot] = process.argv.slice(2);
const TOKEN = "5ebc03d6-8b2b-44ad-bf65-72d4f1491dda";
const GROUP = "41e21049-e5eb-433c-a93d-d57417b1863c";

async function main() {
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
    viewport: { width: 1280, height: 1600 },
  });
  try {
    await visit(await browser.newPage());
  } finally {
    await browser.close();
  }
}

async function visit(page) {
  const problems = [];
  const foreign = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(base + "/") && !url.startsWith("data:")) foreign.push(url);
  });

  await page.goto(`${base}/docs`);
  await page.locator("#operations-DID_groups-patch_did_group").waitFor();
  const operations = await page.locator(".opblock").count();
  assert.ok(operations >= 12, `${operations} operations are shown`);
  console.log(`ok: the page contains ${operations} operations`);

  await authorize(page);
  const response = await patch(page);
  assert.equal(response.status(), 200);
  assert.equal((await response.json()).name, "my_did_group");
  console.log("ok: a PATCH of the sample DID group from the page succeeds");
  if (screenshot) await page.screenshot({ path: screenshot });

  assert.deepEqual(problems, []);
  console.log("ok: no error and no warning on the console");
  assert.deepEqual(foreign, []);
  console.log("ok: no request leaves the server");
}

async function authorize(page) {
  await page.locator(".auth-wrapper .authorize").first().click();
  // The page also offers HTTP Basic, for clients at two endpoints.
  const bearer = page.locator(".auth-container").filter({ hasText: "bearer" });
  await bearer.locator("input").fill(TOKEN);
  await bearer.locator(".authorize").click();
  await bearer.locator(".btn-done").click();
}

// Sends the request of the example, without typing.
async function patch(page) {
  const operation = page.locator("#operations-DID_groups-patch_did_group");
  await operation.locator(".opblock-summary-control").click();
  const sid = operation.locator("tr[data-param-name=did_group_sid] input");
  assert.equal(await sid.inputValue(), GROUP);
  const response = page.waitForResponse((response) => response.request().method() === "PATCH");
  await operation.locator(".execute").click();
  await operation.locator(".live-responses-table .response .response-col_status").waitFor();
  return response;
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
