// Every view in light and dark and on a phone: problems, accessibility, width, screenshots.
const { checkAccessibility, checkWidth, close, open, screenshot, settled } = require("./page.js");
const { PHONE, show, signIn } = require("./page.js");

function views({ code, did, group, endpoint, partner }) {
  return {
    "short-codes": "short_codes",
    "short-code": `short_codes/${code}`,
    dids: "dids",
    did: `dids/${did}`,
    "did-groups": "did_groups",
    "did-group": `did_groups/${group}`,
    partners: "partners",
    partner: `partners/${partner}`,
    tokens: "tokens",
    endpoints: "endpoints",
    endpoint: `endpoints/${endpoint}`,
    resolve: "resolve?number=15162065574",
    tail: "tail",
    empty: "short_codes?filter=name+eq+nothing",
    "filter-error": "short_codes?filter=name+equals+Votes",
    deleted: "short_codes?deleted=true",
    missing: "short_codes/00000000-0000-7000-8000-000000000000",
    unknown: "nothing",
  };
}

/** The steps of an edit, which are views as well. */
async function steps(tab, { code }, look) {
  const { page } = tab;
  await show(tab, `short_codes/${code}`);
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByPlaceholder("new member").last().fill("plan");
  await page.keyboard.press("Enter");
  await page.getByLabel("Type of Attributes plan").selectOption("object");
  await look("edit");
  await page.getByRole("button", { name: "JSON" }).click();
  await look("edit-json");
  const callback = page.locator(".field", { hasText: "Callback URL" }).locator("input");
  await callback.fill("https://example.com/calls");
  await page.getByRole("button", { name: "Review changes" }).click();
  await page.getByRole("heading", { name: "Review the changes" }).waitFor();
  await look("review");
  page.once("dialog", (dialog) => dialog.accept());
  await show(tab, "short_codes");
  await page.locator("summary", { hasText: "How to filter" }).click();
  await page.locator("summary", { hasText: "Columns" }).click();
  await look("short-codes-help");
}

async function everyView(setup, name, options) {
  const { browser, url, token, folder } = setup;
  const tab = await open(browser, url, options);
  const { page } = tab;
  const look = async (view) => {
    await settled(page);
    await checkAccessibility(page, `${view}, ${name}`);
    await checkWidth(page, `${view}, ${name}`);
    await screenshot(page, folder, `${view}-${name}`);
  };
  await look("sign-in");
  await signIn(page, token);
  const all = views(setup);
  for (const [view, fragment] of Object.entries(all)) {
    await show(tab, fragment);
    await look(view);
  }
  await steps(tab, setup, look);
  await close(tab, [400, 404]);
  return `${Object.keys(all).length + 5} views`;
}

module.exports = [
  [
    "every view in light: no problem, axe-core finds nothing",
    (setup) => everyView(setup, "light", { colorScheme: "light" }),
  ],
  [
    "every view in dark: no problem, axe-core finds nothing",
    (setup) => everyView(setup, "dark", { colorScheme: "dark" }),
  ],
  [
    "every view at 360 px: no problem, no scrolling sideways",
    (setup) => everyView(setup, "phone", { viewport: PHONE, hasTouch: true }),
  ],
  [
    "every view on a wall screen: no problem",
    (setup) => everyView(setup, "wall", { viewport: { width: 2560, height: 1440 } }),
  ],
];
