/** Events as they happen: a stream of JSON lines, read with `fetch`. */

import { denied, useAccess } from "./access.js";
import { Changes } from "./changes.js";
import { recorded } from "./diff.js";
import { parse } from "./json.js";
import { CopyCurl, dateText, Heading, Problem } from "./parts.js";
import { labelOf, READ_EVENTS, RESOURCES } from "./resources.js";
import { link } from "./route.js";
import { call } from "./session.js";
import { html, useEffect, useRef, useState } from "./ui.js";

const MOST_EVENTS = 200;
const RETRY_MS = 2000;

/** The view of the events that happen now. */
export function TailView() {
  const reason = denied(useAccess(), READ_EVENTS);
  const request = tailRequest(null);
  return html`<${Heading} title="Live tail" detail="events as they happen">
      <${CopyCurl} request=${request} />
    <//>
    ${
      reason
        ? html`<p class="empty">This token cannot read events: it ${reason}.</p>`
        : html`<${Tail} />`
    }`;
}

function Tail() {
  const [events, setEvents] = useState([]);
  const [isPaused, setIsPaused] = useState(false);
  const { state, error } = useStream(isPaused, (event) =>
    setEvents((old) => [event, ...old].slice(0, MOST_EVENTS)),
  );
  return html`<div class="buttons">
      <button type="button" onClick=${() => setIsPaused(!isPaused)}>
        ${isPaused ? "Continue" : "Pause"}
      </button>
      <button type="button" disabled=${events.length === 0} onClick=${() => setEvents([])}>
        Clear
      </button>
      <span class=${`stream ${state}`} role="status">${state}</span>
    </div>
    <${Problem} error=${error} />
    ${
      events.length === 0
        ? html`<p class="empty">
            No event yet. Every change that this token can see appears here.
          </p>`
        : html`<ol class="timeline tail" aria-live="polite" aria-relevant="additions">
          ${events.map((event) => html`<${Event} key=${event.id} event=${event} />`)}
        </ol>`
    }`;
}

function Event({ event }) {
  const { type, timestamp, data } = event;
  const [kind, action] = type.split(".");
  const resource = RESOURCES[`${kind}s`];
  const differences = recorded(data.changes ?? {});
  const query = action === "deleted" ? { deleted: "true" } : {};
  const name = resource && data.object ? labelOf(resource, data.object) : data.sid;
  return html`<li class=${action}>
    <div class="heading">
      <h2>
        ${resource ? html`<a href=${link(resource.view, data.sid, query)}>${name}</a>` : name}
      </h2>
      <span class="badge">${type}</span>
      <time datetime=${timestamp}>${dateText(timestamp)}</time>
      <span class="detail">version ${data.version}</span>
    </div>
    ${
      resource &&
      differences.length > 0 &&
      html`<details open=${action === "updated"}>
      <summary>${differences.length} changed</summary>
      <${Changes} changes=${differences} resource=${resource} />
    </details>`
    }
  </li>`;
}

/** The stream since the newest event, or since the last one that arrived. */
function tailRequest(cursor) {
  return {
    path: "events",
    query: { after: cursor ?? undefined },
    headers: { Accept: "application/x-ndjson" },
    stream: true,
  };
}

/** Follows the stream, and connects again after it has ended. */
function useStream(isPaused, onEvent) {
  const [status, setStatus] = useState({ state: "connecting", error: null });
  const cursor = useRef(null);
  const deliver = useRef(onEvent);
  deliver.current = onEvent;
  useEffect(() => {
    if (isPaused) {
      setStatus({ state: "paused", error: null });
      return undefined;
    }
    const abort = new AbortController();
    const take = (event) => {
      if (event.cursor) cursor.current = event.cursor;
      if (event.data) deliver.current(event);
    };
    follow(cursor, take, setStatus, abort.signal);
    return () => abort.abort();
  }, [isPaused]);
  return status;
}

async function follow(cursor, take, setStatus, signal) {
  while (!signal.aborted) {
    try {
      const { response } = await call(tailRequest(cursor.current), signal);
      setStatus({ state: "live", error: null });
      for await (const line of lines(response.body)) take(parse(line));
    } catch (error) {
      if (signal.aborted) return;
      const isPassing = [0, 429, 503].includes(error.status) || !error.status;
      setStatus({ state: "interrupted", error: isPassing ? null : error });
      // The events before a cursor that is too old are in the histories.
      if (error.status === 410) cursor.current = null;
      else if (!isPassing) return;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/**
 * The lines of a stream that are not empty.
 *
 * @param {ReadableStream<Uint8Array>} stream
 */
export async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts.filter((part) => part.trim());
  }
}
