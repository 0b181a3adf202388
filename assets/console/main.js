// The path of the public URL precedes every path of the service.
const base = new URL("..", import.meta.url);

const settings = await (await fetch(new URL("console/settings.json", base))).json();
document.getElementById("page").textContent = `The console is ${settings.mode}.`;
