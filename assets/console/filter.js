/** The box above a list: a word to search for, or a filter, with its error at its place. */

import { filterOf } from "./resources.js";
import { link } from "./route.js";
import { sentence } from "./parts.js";
import { html, useEffect, useId, useRef } from "./ui.js";

/**
 * @param {object} properties
 * @param {import("./resources.js").Resource} properties.resource
 * @param {Record<string, string>} properties.query of the view
 * @param {Error | null} properties.error of the list
 */
export function FilterBox({ resource, query, error }) {
  const input = useRef(null);
  const id = useId();
  const message = error?.of?.("filter");
  const position = positionOf(message);
  useEffect(() => {
    input.current.value = query.filter ?? "";
  }, [query.filter]);
  useEffect(() => {
    const isActive = document.activeElement === input.current;
    if (position && isActive) input.current.setSelectionRange(position - 1, position);
  }, [error]);
  const submit = (event) => {
    event.preventDefault();
    location.hash = filtered(resource, query, input.current.value.trim());
  };
  return html`<form class="filter" role="search" onSubmit=${submit}>
      <label for=${id}>Search or filter</label>
      <div class="row">
        <input id=${id} ref=${input} type="search" autocomplete="off" spellcheck="false"
          maxlength="4096" enterkeyhint="search"
          placeholder=${`a word, or: ${examples(resource)[0]}`} aria-invalid=${Boolean(message)}
          aria-describedby=${message ? `${id}-error` : undefined} />
        <button type="submit">Search</button>
        ${
          query.filter &&
          html`<a class="button quiet" href=${filtered(resource, query, "")}>Clear</a>`
        }
      </div>
    </form>
    ${
      message &&
      html`<div class="problem" role="alert" id=${`${id}-error`}>
      <${Marked} text=${filterOf(resource, query.filter)} position=${position} />
      <p>${sentence(message)}</p>
      <p class="hint">
        To search for several words, put them in quotes: <code>"main hotline"</code>
      </p>
    </div>`
    }
    <${Help} resource=${resource} query=${query} />`;
}

function filtered(resource, { after, before, offset, ...rest }, filter) {
  return link(resource.view, null, { ...rest, filter });
}

/** The filter with a mark where the error is. */
function Marked({ text, position }) {
  if (!position) return null;
  // Positions count characters, not UTF-16 units.
  const characters = [...text];
  const at = (start, end) => characters.slice(start, end).join("");
  return html`<code class="marked"
    >${at(0, position - 1)}<mark>${at(position - 1, position) || " "}</mark>${at(position)}</code
  >`;
}

/**
 * @param {string | undefined} message
 * @returns {number | null} from 1
 */
export function positionOf(message) {
  const found = message?.match(/^at position (\d+)/);
  return found ? Number(found[1]) : null;
}

function Help({ resource, query }) {
  const names = resource.members.map(({ name }) => name);
  return html`<details class="help">
    <summary>How to filter</summary>
    <p>
      A word finds ${resource.title.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())}
      ${" "}by number, name or URL, and a sid finds one object. A filter has conditions, joined by
      ${" "}<code>and</code>:
    </p>
    <ul>
      ${examples(resource).map(
        (text) =>
          html`<li><a href=${filtered(resource, query, text)}><code>${text}</code></a></li>`,
      )}
    </ul>
    <p>
      Operators: <code>eq ne gt ge lt le like ilike in bit</code>. In <code>like</code> and${" "}
      <code>ilike</code>, <code>%</code> stands for any text and <code>_</code> for one character.
    </p>
    <p>Members: <code>${names.join(" ")}</code></p>
  </details>`;
}

function examples({ view }) {
  const named = ['name ilike "%sales%"', "name ne N/A"];
  const called = ["callback_url eq null"];
  const byView = {
    short_codes: ["short_code eq 26399", ...named, ...called, "attributes.campaign.id gt 7"],
    dids: ['phonenumber like "1516%"', ...named, ...called, "state in (NY, IL)"],
    did_groups: [...named, ...called],
    partners: ["status eq suspended", ...named],
    tokens: ["date_last_accessed eq null", ...named],
    endpoints: ["enabled eq false", 'url ilike "%example%"'],
  };
  return byView[view];
}
