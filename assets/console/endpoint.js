/** What an endpoint has besides its members: a test, failed deliveries, and replays. */

import { CopyCurl, countText, dateText, Loading, Notice, Problem, ScopedButton } from "./parts.js";
import { UPDATE_ENDPOINTS, RESOURCES } from "./resources.js";
import { link } from "./route.js";
import { call } from "./session.js";
import { html, useAction, useLoad, useState } from "./ui.js";

/** Test, failed deliveries and replay of one endpoint. */
export function EndpointPanel({ sid }) {
  const path = `${RESOURCES.endpoints.path}/${sid}`;
  return html`<${Test} path=${path} /><${Deliveries} path=${path} /><${Replay} path=${path} />`;
}

function Test({ path }) {
  const { run, busy, error } = useAction();
  const [attempt, setAttempt] = useState(null);
  const request = { method: "POST", path: `${path}/test`, body: {} };
  const test = () => run(async () => setAttempt((await call(request)).data));
  return html`<section aria-labelledby="test">
    <h2 id="test">Test</h2>
    <p>Sends a signed event of the type <code>endpoint.test</code> now.</p>
    <div class="buttons">
      <${ScopedButton} scopes=${UPDATE_ENDPOINTS} disabled=${busy} onClick=${test}>Send a test<//>
      <${CopyCurl} request=${request} />
    </div>
    <${Problem} error=${error} />
    ${attempt && html`<${Notice}><${Attempt} attempt=${attempt} /><//>`}
  </section>`;
}

function Attempt({ attempt }) {
  const { status, error, milliseconds, response } = attempt;
  return html`<span>
    ${error ? error : `Status ${status}`} after ${milliseconds} ms${response ? ": " : ""}
    ${response && html`<code>${response}</code>`}
  </span>`;
}

function Deliveries({ path }) {
  const request = { path: `${path}/deliveries`, query: { limit: 50 } };
  const load = async (signal) => (await call(request, signal)).data;
  const { data: page, error, reload } = useLoad(load, [path]);
  return html`<section aria-labelledby="deliveries">
    <div class="heading">
      <h2 id="deliveries">Failed deliveries</h2>
      ${page && html`<span class="detail">${page.total}</span>`}
      <div class="actions">
        <button type="button" class="quiet" onClick=${reload}>Reload</button>
        <${CopyCurl} request=${request} />
      </div>
    </div>
    <${Problem} error=${error} /> ${!page && !error && html`<${Loading} />`}
    ${
      page?.items.length === 0 &&
      html`<p class="empty">No delivery has failed in the last 7 days.</p>`
    }
    ${page?.items.map(
      (delivery) => html`<${Delivery} key=${delivery.event_id} delivery=${delivery} />`,
    )}
  </section>`;
}

function Delivery({ delivery }) {
  const { type, sid, version, status, attempts, date_next_attempt: next } = delivery;
  const view = `${type.split(".")[0]}s`;
  return html`<details class="delivery">
    <summary>
      <span class=${`badge ${status}`}>${status}</span> <code>${type}</code>
      ${" "}${countText(attempts.length, "attempt")}
      ${next && html`<span class="detail"> next at ${dateText(next)}</span>`}
    </summary>
    <p>
      ${RESOURCES[view] ? html`<a class="sid" href=${link(view, sid)}>${sid}</a>` : sid},
      ${" "}version ${version}
    </p>
    <ol>
      ${attempts.map(
        (attempt) =>
          html`<li key=${attempt.date}>
            ${dateText(attempt.date)}: <${Attempt} attempt=${attempt} />
          </li>`,
      )}
    </ol>
  </details>`;
}

function Replay({ path }) {
  const { run, busy, error } = useAction();
  const [range, setRange] = useState({ after: "", before: "" });
  const [isDone, setIsDone] = useState(false);
  const body = replayBody(range);
  const request = { method: "POST", path: `${path}/replay`, body };
  const replay = (event) => {
    event.preventDefault();
    run(async () => {
      await call(request);
      setIsDone(true);
    });
  };
  const input = (name, label, required) => html`<label>
    ${label}
    <input type="datetime-local" step="1" required=${required} value=${range[name]}
      onInput=${(event) => {
        setIsDone(false);
        setRange({ ...range, [name]: event.target.value });
      }} />
  </label>`;
  return html`<section aria-labelledby="replay">
    <h2 id="replay">Replay</h2>
    <p>Delivers the past events of a range of dates (UTC) again.</p>
    <form class="replay" onSubmit=${replay}>
      ${input("after", "After", true)} ${input("before", "Before (optional)", false)}
      <div class="buttons">
        <${ScopedButton} type="submit" scopes=${UPDATE_ENDPOINTS} disabled=${busy}>Replay<//>
        <${CopyCurl} request=${request} />
      </div>
    </form>
    <${Problem} error=${error} />
    ${isDone && html`<${Notice}>The events are delivered again from now on.<//>`}
  </section>`;
}

function replayBody({ after, before }) {
  const utc = (local) => (local ? `${local.length === 16 ? `${local}:00` : local}Z` : undefined);
  return before ? { after: utc(after), before: utc(before) } : { after: utc(after) };
}
