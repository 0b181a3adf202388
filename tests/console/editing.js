// Changing objects: the main task, concurrent changes, numbers, script injection, restoring.
const assert = require("node:assert/strict");
const { api, checkAccessibility, checkWidth, close, DESKTOP } = require("./page.js");
const { open, PHONE, screenshot, settled, show, signIn, tabTo } = require("./page.js");

const codes = "phonenumber/short_codes";

/** Texts that would run a script or load something if a page took them for markup. */
const INJECTIONS = [
  "<script>globalThis.injected = 1</script>",
  '"><img src=x onerror="globalThis.injected = 1">',
  "<svg onload=globalThis.injected=1>",
  "javascript:globalThis.injected=1",
  "'-globalThis.injected=1-'",
  "{{constructor.constructor('globalThis.injected = 1')()}}",
  "${globalThis.injected = 1}",
  '</textarea><iframe src="https://example.org">',
  "<a href=javascript:globalThis.injected=1>x</a>",
  '<style>@import "https://example.org"</style>',
];

module.exports = [
  [
    "by keyboard alone: find a short code, change its callback, put it back",
    async ({ browser, url, token, code }) => {
      const call = api(url, token);
      const before = (await call("GET", `${codes}/${code}`)).data;
      const tab = await open(browser, url);
      const { page } = tab;
      await tabTo(page, "button", "Use the demo token");
      await page.keyboard.press("Enter");
      await tabTo(page, "searchbox", "Search or filter");
      await page.keyboard.type("26399");
      await page.keyboard.press("Enter");
      await tabTo(page, "link", "26399");
      await page.keyboard.press("Enter");
      await tabTo(page, "button", "Edit");
      await page.keyboard.press("Enter");
      await tabTo(page, "textbox", "Callback URL callback_url");
      await page.keyboard.type("https://example.com/calls");
      await page.keyboard.press("Control+Enter");
      await tabTo(page, "button", "Save");
      await page.keyboard.press("Enter");
      await page.getByText("Saved as version").waitFor();
      const changed = (await call("GET", `${codes}/${code}`)).data;
      assert.deepEqual(changed, { ...before, callback_url: "https://example.com/calls" });
      await tabTo(page, "button", "Undo");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Review the changes" }).waitFor();
      await tabTo(page, "button", /^Restore version \d+$/);
      await page.keyboard.press("Enter");
      await page.getByText("Restored as version").waitFor();
      assert.deepEqual((await call("GET", `${codes}/${code}`)).data, before);
      await close(tab);
    },
  ],
  [
    "two browsers that change one object lose nothing",
    async ({ browser, url, token, folder }) => {
      const call = api(url, token);
      const sid = await newCode(call, "81001", {
        name: "Winter votes",
        attributes: { campaign: { id: 71, phase: "test" } },
      });
      const [mine, theirs] = [await open(browser, url), await open(browser, url)];
      for (const tab of [mine, theirs]) {
        await signIn(tab.page, token);
        await show(tab, `short_codes/${sid}`);
        await tab.page.getByRole("button", { name: "Edit" }).click();
      }
      await fill(theirs.page, "Name", "Winter votes 2026");
      await fill(theirs.page, "Callback URL", "https://example.com/sms");
      await theirs.page.getByLabel("Attributes campaign phase", { exact: true }).fill("live");
      await save(theirs.page);

      await fill(mine.page, "Name", "Winter poll");
      await fill(mine.page, "String key 1", "winter");
      await mine.page.getByLabel("Attributes campaign id", { exact: true }).fill("72");
      await review(mine.page);
      const { page } = mine;
      await page.getByText("Somebody else has changed this short code").waitFor();
      await page.getByText("Version 2").waitFor();
      await checkWidth(page, "conflict");
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await checkAccessibility(page, `conflict, ${colorScheme}`);
        await screenshot(page, folder, `conflict-${colorScheme}`);
      }
      await page.setViewportSize(PHONE);
      await checkWidth(page, "conflict, phone");
      await screenshot(page, folder, "conflict-phone");
      await page.setViewportSize(DESKTOP);
      const next = page.getByRole("button", { name: "Review the merged changes" });
      assert.ok(await next.isDisabled(), "a conflict is open");
      await page.getByRole("row", { name: /^name/ }).getByLabel("mine").check();
      await next.click();
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Saved as version 3").waitFor();
      const { data } = await call("GET", `${codes}/${sid}`);
      assert.equal(data.name, "Winter poll");
      assert.equal(data.callback_url, "https://example.com/sms");
      assert.equal(data.string_key_1, "winter");
      assert.deepEqual(data.attributes, { campaign: { id: 72, phase: "live" } });
      await close(mine, [412]);
      await close(theirs);
    },
  ],
  [
    "a change between the review and Save is found too",
    async ({ browser, url, token }) => {
      const call = api(url, token);
      const sid = await newCode(call, "81002", {});
      const tab = await open(browser, url);
      const { page } = tab;
      await signIn(page, token);
      await show(tab, `short_codes/${sid}`);
      await page.getByRole("button", { name: "Edit" }).click();
      await fill(page, "Name", "Mine");
      await review(page);
      await page.getByRole("heading", { name: "Review the changes" }).waitFor();
      await call("PATCH", `${codes}/${sid}`, { string_key_2: "theirs" });
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByRole("button", { name: "Review the merged changes" }).click();
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Saved as version 3").waitFor();
      const { data } = await call("GET", `${codes}/${sid}`);
      assert.deepEqual([data.name, data.string_key_2], ["Mine", "theirs"]);
      await close(tab, [412]);
    },
  ],
  [
    "numbers retain their digits, and so do members with odd names",
    async ({ browser, url, token }) => {
      const call = api(url, token);
      const attributes = '{"__proto__":{"x":1},"big":9007199254740993,"null":null,"price":1.10}';
      const sid = await newCode(call, "81003", `{"attributes":${attributes}}`);
      const tab = await open(browser, url);
      const { page } = tab;
      await signIn(page, token);
      await show(tab, `short_codes/${sid}`);
      await page.getByRole("button", { name: "Edit" }).click();
      await page.getByPlaceholder("new member").last().fill("added");
      await page.keyboard.press("Enter");
      await page.getByLabel("Attributes added", { exact: true }).fill("by the tree");
      await page.getByRole("button", { name: "JSON" }).click();
      const text = page.getByLabel("Attributes as JSON");
      await text.fill((await text.inputValue()).replace("by the tree", "as text"));
      await save(page);
      const { text: stored } = await call("GET", `${codes}/${sid}`);
      const expected = `{"__proto__":{"x":1},"added":"as text",${attributes.slice(21)}`;
      assert.ok(stored.includes(`"attributes":${expected}`), stored);
      await close(tab);
    },
  ],
  [
    "an invalid value is rejected at its field, and nothing is saved",
    async ({ browser, url, token }) => {
      const call = api(url, token);
      const sid = await newCode(call, "81004", {});
      const tab = await open(browser, url);
      const { page } = tab;
      await signIn(page, token);
      await show(tab, `short_codes/${sid}`);
      await page.getByRole("button", { name: "Edit" }).click();
      await fill(page, "Callback URL", "not a URL");
      await review(page);
      const input = field(page, "Callback URL");
      await page.locator('[aria-invalid="true"]').waitFor();
      assert.match(await input.evaluate(described), /URL/);
      assert.equal((await call("GET", `${codes}/${sid}`)).etag, '"1"');
      await close(tab, [422]);
    },
  ],
  [
    `${INJECTIONS.length} strings of script injection in names and attributes stay text`,
    async ({ browser, url, token }) => {
      const call = api(url, token);
      const attributes = Object.fromEntries(INJECTIONS.map((text) => [text, text]));
      const tab = await open(browser, url);
      const { page } = tab;
      await signIn(page, token);
      for (const [index, name] of INJECTIONS.entries()) {
        const sid = await newCode(call, `8200${index}`, { name, attributes });
        await show(tab, `short_codes/${sid}`);
        await page.getByText(name, { exact: true }).first().waitFor();
        await page.getByRole("button", { name: "Edit" }).click();
        assert.equal(await field(page, "Name").inputValue(), name);
        await fill(page, "Name", `${name} `);
        await review(page);
        await page.getByRole("heading", { name: "Review the changes" }).waitFor();
        await page.getByRole("button", { name: "Save" }).click();
        await page.getByText("Saved as version").waitFor();
      }
      await show(tab, "short_codes?filter=8200&columns=short_code,name,attributes");
      assert.equal(await page.locator("tbody tr").count(), INJECTIONS.length);
      for (const name of INJECTIONS) {
        await show(tab, `short_codes?filter=${encodeURIComponent(name)}`);
        assert.equal(await page.getByRole("searchbox").inputValue(), name);
      }
      assert.equal(await page.evaluate(() => globalThis.injected), undefined);
      assert.equal(await page.locator("main :is(script, img, iframe, style)").count(), 0);
      tab.seen.statuses = tab.seen.statuses.filter((status) => status !== 400);
      await close(tab);
    },
  ],
  [
    "a deleted object is found and restored",
    async ({ browser, url, token, folder }) => {
      const call = api(url, token);
      const sid = await newCode(call, "81005", { name: "Gone" });
      await call("DELETE", `${codes}/${sid}`);
      const tab = await open(browser, url);
      const { page } = tab;
      await signIn(page, token);
      await show(tab, `short_codes/${sid}`);
      await page.getByRole("link", { name: "look among the deleted objects" }).waitFor();
      await show(tab, "short_codes");
      await page.getByLabel("Deleted").check();
      await page.getByRole("link", { name: "81005" }).click();
      await page.getByText("This short code was deleted").waitFor();
      await settled(page);
      await screenshot(page, folder, "deleted-light");
      await page.getByRole("button", { name: "Restore version 1" }).click();
      await page.getByRole("heading", { name: "Review the changes" }).waitFor();
      await page.locator(".review").getByRole("button", { name: "Restore version 1" }).click();
      await page.getByRole("button", { name: "Edit" }).waitFor();
      assert.equal((await call("GET", `${codes}/${sid}`)).data.name, "Gone");
      await close(tab, [404]);
    },
  ],
];

async function newCode(call, number, members) {
  const owner = { partner_sid: "b9ba2c8b-2368-4a0b-9ba0-866ff2618417", short_code: number };
  const body = typeof members === "string" ? members : JSON.stringify(members);
  const rest = body === "{}" ? "" : `,${body.slice(1, -1)}`;
  const text = `${JSON.stringify(owner).slice(0, -1)}${rest}}`;
  return (await call("POST", codes, text)).data.short_code_sid;
}

function field(page, label) {
  return page.locator(".field").filter({ hasText: label }).locator("input").first();
}

function fill(page, label, value) {
  return field(page, label).fill(value);
}

function review(page) {
  return page.getByRole("button", { name: "Review changes" }).click();
}

async function save(page) {
  await review(page);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved as version").waitFor();
}

/** The text that describes an input, run in the page. */
function described(input) {
  return document.getElementById(input.getAttribute("aria-describedby")).textContent;
}
