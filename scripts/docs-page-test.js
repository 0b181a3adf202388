// What a reader of the documentation page does, and what must not happen meanwhile.
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
  const complaints = [];
  const elsewhere = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(base + "/") && !url.startsWith("data:")) elsewhere.push(url);
  });

  await page.goto(`${base}/docs`);
  await page.locator("#operations-DID_groups-patch_did_group").waitFor();
  const operations = await page.locator(".opblock").count();
  assert.ok(operations >= 12, `${operations} operations are shown`);
  console.log(`ok: the page shows ${operations} operations`);

  await authorize(page);
  const answer = await patch(page);
  assert.equal(answer.status(), 200);
  assert.equal((await answer.json()).name, "my_did_group");
  console.log("ok: a PATCH of the sample DID group from the page answers 200");
  if (screenshot) await page.screenshot({ path: screenshot });

  assert.deepEqual(complaints, []);
  console.log("ok: no error and no warning on the console");
  assert.deepEqual(elsewhere, []);
  console.log("ok: no request leaves the server");
}

async function authorize(page) {
  await page.locator(".auth-wrapper .authorize").first().click();
  // The other way, HTTP Basic, is a client's at two endpoints.
  const bearer = page.locator(".auth-container").filter({ hasText: "bearer" });
  await bearer.locator("input").fill(TOKEN);
  await bearer.locator(".authorize").click();
  await bearer.locator(".btn-done").click();
}

// The values are the examples of the document: nothing has to be typed.
async function patch(page) {
  const operation = page.locator("#operations-DID_groups-patch_did_group");
  await operation.locator(".opblock-summary-control").click();
  assert.equal(await operation.locator("tr[data-param-name=did_group_sid] input").inputValue(), GROUP);
  const answered = page.waitForResponse((response) => response.request().method() === "PATCH");
  await operation.locator(".execute").click();
  await operation.locator(".live-responses-table .response .response-col_status").waitFor();
  return answered;
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
