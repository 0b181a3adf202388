/** Values of members as text. Whatever a value contains, it is never markup. */

import { isObject, stringify } from "./json.js";
import { dateText } from "./parts.js";
import { RESOURCES, isSid } from "./resources.js";
import { link } from "./route.js";
import { html } from "./ui.js";

/** JSON up to this length stays on one line. */
const SHORT_JSON = 32;

/** A value. `member` says what it means, and `short` leaves out what needs more than a line. */
export function Value({ value, member, short }) {
  if (value === undefined) return html`<span class="none">absent</span>`;
  if (value === null) return html`<span class="none">${short ? "–" : "not set"}</span>`;
  if (value === "") return html`<span class="none">empty</span>`;
  const kind = member?.kind;
  if (kind === "date") return html`<time datetime=${value}>${dateText(value)}</time>`;
  if (kind === "sid") return html`<${Sid} sid=${value} of=${member.of} />`;
  if (kind === "choice" && typeof value === "boolean") return value ? "yes" : "no";
  if (kind === "list" && Array.isArray(value))
    return html`<${List} items=${value} short=${short} />`;
  if (kind === "url") return html`<span class="url">${text(value)}</span>`;
  if (typeof value === "string" && kind) return value;
  const isEmpty = kind && [isObject(value) ? Object.keys(value) : value].flat().length === 0;
  if (isEmpty) return html`<span class="none">none</span>`;
  return html`<${Json} value=${value} short=${short} />`;
}

function Sid({ sid, of }) {
  if (!of || !isSid(sid)) return html`<code class="sid">${sid}</code>`;
  const title = `Open the ${RESOURCES[of].one}`;
  return html`<a class="sid" href=${link(of, sid)} title=${title}>${sid}</a>`;
}

function List({ items, short }) {
  if (items.length === 0) return html`<span class="none">none</span>`;
  if (short) return items.join(", ");
  return html`<ul class="list">${items.map((item) => html`<li>${text(item)}</li>`)}</ul>`;
}

function Json({ value, short }) {
  const line = stringify(value);
  if (short || line.length <= SHORT_JSON) return html`<code>${line}</code>`;
  return html`<pre tabindex="0">${stringify(value, 2)}</pre>`;
}

function text(value) {
  return typeof value === "string" ? value : stringify(value);
}
