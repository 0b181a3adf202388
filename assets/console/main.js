/** The console: sign-in, navigation, and the view that the fragment of the URL names. */

import { Access, denied } from "./access.js";
import { isSupported } from "./json.js";
import { dateText } from "./parts.js";
import { ObjectView } from "./object.js";
import { READ_EVENTS, READ_NUMBERS, RESOURCES } from "./resources.js";
import { ResolveView } from "./resolve.js";
import { link, useRoute } from "./route.js";
import { lock, watch } from "./session.js";
import { SignIn } from "./signin.js";
import { ListView } from "./table.js";
import { TailView } from "./tail.js";
import { html, render, useEffect, useState } from "./ui.js";

function Console({ settings }) {
  const [session, setSession] = useState(null);
  const [reason, setReason] = useState("");
  useEffect(() => {
    watch((why) => {
      setReason(why);
      setSession(null);
    });
  }, []);
  if (!session) return html`<${SignIn} ...${{ settings, reason }} onOpen=${setSession} />`;
  const readOnly = settings.mode === "read-only";
  return html`<${Access.Provider} value=${{ session, readOnly }}>
    <${Page} session=${session} readOnly=${readOnly} />
  <//>`;
}

function Page({ session, readOnly }) {
  const route = useRoute();
  const title = titleOf(route);
  useEffect(() => {
    document.title = `${title} – Shortline`;
  }, [title]);
  const skip = (event) => {
    event.preventDefault();
    document.querySelector("main h1")?.focus();
  };
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Sidebar} ...${{ session, readOnly, route }} />
    <main id="main">
      <${View} key=${`${route.view}/${route.sid}/${route.query.deleted ?? ""}`} route=${route} />
    </main>`;
}

const VIEWS = { resolve: ResolveView, tail: TailView };

function View({ route: { view, sid, query } }) {
  const resource = Object.hasOwn(RESOURCES, view) ? RESOURCES[view] : null;
  if (resource && sid) return html`<${ObjectView} ...${{ resource, sid, query }} />`;
  if (resource) return html`<${ListView} ...${{ resource, query }} />`;
  if (Object.hasOwn(VIEWS, view)) return html`<${VIEWS[view]} query=${query} />`;
  return html`<h1 tabindex="-1">No such page</h1>
    <p class="empty">The link may be of another release. <a href="#/">Show the short codes</a></p>`;
}

const LINKS = [
  [
    "Numbers",
    [
      ["resolve", "Where does it go?", READ_NUMBERS],
      ["short_codes", "Short codes"],
      ["dids", "DIDs"],
      ["did_groups", "DID groups"],
    ],
  ],
  [
    "Access",
    [
      ["partners", "Partners"],
      ["tokens", "Tokens"],
    ],
  ],
  [
    "Events",
    [
      ["endpoints", "Webhook endpoints"],
      ["tail", "Live tail", READ_EVENTS],
    ],
  ],
];

function titleOf({ view, sid }) {
  const links = LINKS.flatMap(([, group]) => group);
  const title = links.find(([name]) => name === view)?.[1] ?? "Console";
  return sid ? `${title}: ${sid}` : title;
}

function Sidebar({ session, readOnly, route }) {
  return html`<aside>
    <p class="brand">Shortline ${readOnly && html`<span class="badge">read-only</span>`}</p>
    <nav aria-label="Views">
      ${LINKS.map(
        ([title, links]) => html`<div key=${title} class="group">
          <p class="title">${title}</p>
          <ul>${links.map(
            ([view, text, scopes]) => html`<li key=${view}>
            <${NavLink} ...${{ session, view, text, scopes }} isCurrent=${route.view === view} />
          </li>`,
          )}</ul>
        </div>`,
      )}
    </nav>
    <${Identity} session=${session} />
  </aside>`;
}

function NavLink({ session, view, text, scopes, isCurrent }) {
  const reason = denied({ session }, scopes ?? RESOURCES[view].read);
  if (reason) {
    return html`<span class="off">${text}<span class="reason">${reason}</span></span>`;
  }
  return html`<a href=${link(view)} aria-current=${isCurrent ? "page" : undefined}>${text}</a>`;
}

function Identity({ session: { partner, scopes, token } }) {
  return html`<div class="identity">
    <p class="title">Partner</p>
    <p class="partner">${partner.name}</p>
    <details>
      <summary>${scopes.length} scopes</summary>
      <ul>${scopes.map((scope) => html`<li key=${scope}><code>${scope}</code></li>`)}</ul>
      <p class="hint">The token ends at ${dateText(token.date_expiration_access_token)}.</p>
    </details>
    <button type="button" onClick=${() => lock()}>Lock</button>
  </div>`;
}

async function start() {
  const root = document.getElementById("app");
  if (!isSupported) {
    return showOnly(root, "This browser is too old for the console: it would round long numbers.");
  }
  try {
    const response = await fetch(new URL("settings.json", import.meta.url));
    return render(html`<${Console} settings=${await response.json()} />`, root);
  } catch {
    return showOnly(root, "Shortline does not respond. Reload the page to try again.");
  }
}

function showOnly(root, text) {
  render(html`<main class="signin"><h1>Shortline console</h1><p>${text}</p></main>`, root);
}

start();
