// Uses the console in a browser, for scripts/console-test:
//
//   node browser.js SETUP [FOLDER_OF_SCREENSHOTS]
//
// SETUP is JSON: the URLs of the service and of one whose console is read-only, tokens and a login.
const { launch } = require("./page.js");
const scenarios = [
  ...require("./session.js"),
  ...require("./appearance.js"),
  ...require("./editing.js"),
  ...require("./browsing.js"),
];

async function main() {
  const [setup, folder] = process.argv.slice(2);
  const browser = await launch();
  try {
    for (const [name, scenario] of scenarios) {
      if (!name.includes(process.env.ONLY ?? "")) continue;
      try {
        const result = await scenario({ browser, folder, ...JSON.parse(setup) });
        console.log(`ok: ${name}${result ? `: ${result}` : ""}`);
      } catch (error) {
        console.error(`FAILED: ${name}\n${error.stack}`);
        process.exitCode = 1;
      }
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
