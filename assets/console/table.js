/** A list of objects as a table. */

import { denied, useAccess } from "./access.js";
import { FilterBox } from "./filter.js";
import { stringify } from "./json.js";
import { columnsOf, isOwner, listRequest, neighbours, nextOrder, PAGE_SIZE } from "./list.js";
import { CopyCurl, countText, Heading, Loading, Problem } from "./parts.js";
import { link } from "./route.js";
import { call } from "./session.js";
import { html, useLoad } from "./ui.js";
import { Value } from "./value.js";

/** The view of a list, or the scope that the token lacks for it. */
export function ListView({ resource, query }) {
  const reason = denied(useAccess(), resource.read);
  if (reason) return html`<${Denied} resource=${resource} reason=${reason} />`;
  return html`<${List} resource=${resource} query=${query} />`;
}

/** What a view shows if the token lacks the scope. */
export function Denied({ resource, reason }) {
  return html`<${Heading} title=${resource.title} />
    <p class="empty">This token cannot read them: it ${reason}.</p>`;
}

function List({ resource, query }) {
  const request = listRequest(resource, query);
  const load = async (signal) => ({ ...(await call(request, signal)).data, query });
  const { data: page, error, loading } = useLoad(load, [JSON.stringify(request)]);
  const isFilterError = error?.of?.("filter");
  return html`<${Heading} title=${resource.title} detail=${page && !error && total(resource, page)}>
      <${CopyCurl} request=${request} />
    <//>
    <div class="tools">
      ${
        query.deleted
          ? html`<p class="hint">The newest deletion is first.</p>`
          : html`<${FilterBox} resource=${resource} query=${query} error=${error} />`
      }
      <div class="options">
        ${resource.restore && html`<${DeletedSwitch} resource=${resource} query=${query} />`}
        <${Columns} resource=${resource} query=${query} />
      </div>
    </div>
    ${!isFilterError && html`<${Problem} error=${error} />`}
    ${!page && loading && html`<${Loading} />`}
    ${page && !error && html`<${Page} resource=${resource} query=${page.query} page=${page} />`}`;
}

function total(resource, { total, query }) {
  if (total === null) return null;
  const kind = `${query.deleted ? "deleted " : ""}${resource.one}`;
  return countText(total, kind);
}

function Page({ resource, query, page }) {
  if (page.items.length === 0) return html`<${Empty} resource=${resource} query=${query} />`;
  const columns = columnsOf(resource, query);
  return html`<div class="scroll">
      <table class="list" role="table">
        <caption class="hidden">
          ${resource.title}
        </caption>
        <thead role="rowgroup">
          <tr role="row">
            ${columns.map(
              (column) => html`<${Header} key=${column.name} ...${{ resource, query, column }} />`,
            )}
          </tr>
        </thead>
        <tbody role="rowgroup" onKeyDown=${moveBetweenRows}>
          ${page.items.map(
            (item) =>
              html`<${Row} key=${item[resource.sid]} ...${{ resource, query, columns, item }} />`,
          )}
        </tbody>
      </table>
    </div>
    <${Pager} resource=${resource} query=${query} page=${page} />`;
}

function Empty({ resource, query }) {
  const { filter, after, before, offset, ...rest } = query;
  if (filter) {
    return html`<p class="empty">
      No ${resource.one} matches.${" "}
      <a href=${link(resource.view, null, rest)}>Show all</a>
    </p>`;
  }
  const what = query.deleted ? `deleted ${resource.one}` : resource.one;
  return html`<p class="empty">There is no ${what} that this token can see.</p>`;
}

const SORT = { none: "", ascending: " ↑", descending: " ↓" };

function Header({ resource, query, column }) {
  const { name, label, kind } = column;
  if (kind === "json" || kind === "list" || query.deleted)
    return html`<th role="columnheader" scope="col">${label}</th>`;
  const { after, before, offset, order, ...rest } = query;
  const sorted = order === name ? "ascending" : order === `${name} desc` ? "descending" : "none";
  const target = link(resource.view, null, { ...rest, order: nextOrder(order, name) });
  return html`<th role="columnheader" scope="col" aria-sort=${sorted}>
    <a href=${target} title=${`Sort by ${label.toLowerCase()}`}>${label}${SORT[sorted]}</a>
  </th>`;
}

function Row({ resource, query, columns, item }) {
  const target = link(resource.view, item[resource.sid], { deleted: query.deleted });
  return html`<tr role="row">
    ${columns.map((column, index) => {
      const value = html`<${Cell} column=${column} item=${item} isPlain=${index === 0} />`;
      return html`<td role="cell" key=${column.name} data-label=${column.label}>
        ${index === 0 ? html`<a class="open" href=${target}>${value}</a>` : value}
      </td>`;
    })}
  </tr>`;
}

/** `isPlain` if it is inside a link already. */
function Cell({ column, item, isPlain }) {
  const value = item[column.name];
  if (isPlain) return plain(value);
  if (!isOwner(column) || !item.partner?.name) {
    return html`<${Value} value=${value} member=${column} short />`;
  }
  return html`<a href=${link("partners", value)} title=${value}>${item.partner.name}</a>`;
}

function plain(value) {
  if (value === null || value === "") return html`<span class="none">not set</span>`;
  return typeof value === "string" ? value : stringify(value);
}

/** Up and down arrows move between the rows. */
function moveBetweenRows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = step && event.target.closest("tr");
  if (!row) return;
  const links = [...row.parentElement.querySelectorAll("a.open")];
  const next = links[links.indexOf(row.querySelector("a.open")) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

function Pager({ resource, query, page }) {
  const { previous, next } = neighbours(resource, query, page);
  if (!previous && !next) return null;
  const offset = Number(query.offset) || 0;
  const range = query.order && `${offset + 1}–${offset + page.items.length}`;
  const to = (place, text, rel) =>
    place
      ? html`<a class="button" rel=${rel} href=${link(resource.view, null, place)}>${text}</a>`
      : html`<span class="button" aria-disabled="true">${text}</span>`;
  return html`<nav class="pager" aria-label="Pages">
    ${to(previous, "← Previous", "prev")} ${range && html`<span>${range}</span>`}
    ${!range && !previous && html`<span>First ${PAGE_SIZE}</span>`} ${to(next, "Next →", "next")}
  </nav>`;
}

function DeletedSwitch({ resource, query }) {
  // Deleted objects have an order of their own, and no filter.
  const target = (deleted) => link(resource.view, null, { columns: query.columns, deleted });
  return html`<label class="switch">
    <input type="checkbox" checked=${Boolean(query.deleted)}
      onChange=${(event) => (location.hash = target(event.target.checked ? "true" : ""))} />
    Deleted
  </label>`;
}

function Columns({ resource, query }) {
  const shown = columnsOf(resource, query).map(({ name }) => name);
  const toggle = (name) => (event) => {
    const all = resource.members.map((member) => member.name);
    const wanted = (other) => (other === name ? event.target.checked : shown.includes(other));
    // Columns that were added stay behind those of the default order.
    const order = [...new Set([...resource.columns, ...all])].filter(wanted);
    const columns = String(order) === String(resource.columns) ? "" : order.join(",");
    location.hash = link(resource.view, null, { ...query, columns });
  };
  const close = (event) => {
    if (event.key !== "Escape") return;
    event.currentTarget.open = false;
    event.currentTarget.querySelector("summary").focus();
  };
  return html`<details class="menu" onKeyDown=${close}>
    <summary class="button quiet">Columns</summary>
    <fieldset>
      <legend class="hidden">Columns</legend>
      ${resource.members.map(({ name, label }) => {
        const isShown = shown.includes(name);
        const isLast = isShown && shown.length === 1;
        return html`<label key=${name}>
          <input type="checkbox" checked=${isShown} disabled=${isLast} onChange=${toggle(name)} />
          ${label}
        </label>`;
      })}
    </fieldset>
  </details>`;
}
