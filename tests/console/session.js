// Signing in and locking.
const assert = require("node:assert/strict");
const { close, open, settled, show, signIn } = require("./page.js");

module.exports = [
  [
    "a login and its password open the console, and a wrong one does not",
    async ({ browser, url, login, password }) => {
      const tab = await open(browser, url);
      const { page } = tab;
      await signInAs(page, login, "wrong");
      await page.getByRole("alert").getByText("not valid").waitFor();
      await signInAs(page, login, password);
      await page.getByText("Demo carrier", { exact: true }).waitFor();
      await settled(page);
      await close(tab, [401]);
    },
  ],
  [
    "the token of a login is refreshed before it ends",
    async ({ browser, url, login, password }) => {
      const tab = await open(browser, url);
      const { page } = tab;
      await page.clock.install();
      await page.reload();
      await signInAs(page, login, password);
      const refreshed = page.waitForRequest((request) =>
        (request.postData() ?? "").includes("grant_type=refresh_token"),
      );
      for (let quarter = 0; quarter < 5; quarter += 1) {
        await page.clock.fastForward("14:00");
        await page.keyboard.press("Shift");
      }
      await page.getByRole("link", { name: "DID groups" }).click();
      await refreshed;
      await page.getByRole("link", { name: "Demo partner 1" }).waitFor();
      await close(tab);
    },
  ],
  [
    "the demo token is offered, and what its scopes do not allow is grey and names the scope",
    async ({ browser, url }) => {
      const tab = await open(browser, url);
      const { page } = tab;
      await page.getByRole("button", { name: "Use the demo token" }).click();
      const views = page.getByRole("navigation", { name: "Views" });
      await views.getByText("needs oauth.read").waitFor();
      assert.equal(await views.getByRole("link", { name: "Tokens" }).count(), 0);
      await show(tab, "tokens");
      await page.getByText("it needs oauth.read").waitFor();
      await close(tab);
    },
  ],
  [
    "a token that can only read sees why it cannot edit",
    async ({ browser, url, reader, code }) => {
      const tab = await open(browser, url);
      const { page } = tab;
      await signIn(page, reader);
      await show(tab, `short_codes/${code}`);
      await page.getByText("needs phonenumber.update").first().waitFor();
      assert.ok(await page.getByRole("button", { name: "Edit" }).isDisabled());
      await close(tab);
    },
  ],
  [
    "a read-only console offers no write",
    async ({ browser, readOnlyUrl, token, code }) => {
      const tab = await open(browser, readOnlyUrl);
      const { page } = tab;
      await signIn(page, token);
      await page.getByText("read-only", { exact: true }).waitFor();
      await show(tab, `short_codes/${code}`);
      assert.ok(await page.getByRole("button", { name: "Edit" }).isDisabled());
      for (const restore of await page.getByRole("button", { name: "Restore" }).all()) {
        assert.ok(await restore.isDisabled());
      }
      await close(tab);
    },
  ],
  [
    "after Lock the token is in no storage, URL or page",
    async ({ browser, url, token, code }) => {
      const tab = await open(browser, url);
      await signIn(tab.page, token);
      await show(tab, `short_codes/${code}`);
      await tab.page.getByRole("button", { name: "Lock" }).click();
      await tab.page.getByLabel("Bearer token").waitFor();
      await checkForgotten(tab, token);
      await close(tab);
    },
  ],
  [
    "after 15 minutes without input the token is forgotten, and not before",
    async ({ browser, url, token }) => {
      const tab = await open(browser, url);
      const { page } = tab;
      await page.clock.install();
      await page.reload();
      await signIn(page, token);
      await page.clock.fastForward("14:30");
      await page.keyboard.press("Shift");
      await page.clock.fastForward("14:30");
      assert.equal(await page.getByRole("button", { name: "Lock" }).count(), 1);
      await page.clock.fastForward("00:45");
      await page.getByText("Locked after 15 minutes without input").waitFor();
      await checkForgotten(tab, token);
      await close(tab);
    },
  ],
  [
    "a token that was revoked locks the console",
    async ({ browser, url, revocable }) => {
      const tab = await open(browser, url);
      const { page } = tab;
      await signIn(page, revocable);
      const headers = { Authorization: `Bearer ${revocable}` };
      await fetch(`${url}/core/v2/oauth/revoke`, { method: "POST", headers });
      const status = async () => (await fetch(`${url}/core/v2/oauth/whoami`, { headers })).status;
      while ((await status()) !== 401) await page.waitForTimeout(100);
      await page.goto(`${url}/console#/dids`);
      await page.getByText("The token is no longer valid.").waitFor();
      await close(tab, [401]);
    },
  ],
];

async function signInAs(page, login, password) {
  await page.getByLabel("Login", { exact: true }).fill(login);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function checkForgotten({ page, context }, token) {
  const places = await page.evaluate(async () => ({
    storage: JSON.stringify([{ ...localStorage }, { ...sessionStorage }]),
    databases: JSON.stringify(await indexedDB.databases()),
    caches: JSON.stringify(await caches.keys()),
    cookie: document.cookie,
    url: location.href,
    history: JSON.stringify(history.state),
    name: window.name,
    page: document.documentElement.outerHTML,
    inputs: [...document.querySelectorAll("input")].map(({ value }) => value).join(),
  }));
  for (const [place, text] of Object.entries(places)) {
    assert.ok(!String(text).includes(token), `the token is in the ${place}`);
  }
  const state = await context.storageState({ indexedDB: true });
  assert.deepEqual(state, { cookies: [], origins: [] });
}
