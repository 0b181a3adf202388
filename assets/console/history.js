/** The history of an object as a time line, newest first, and the restoring of a version. */

import { denied, useAccess } from "./access.js";
import { Changes } from "./changes.js";
import { recorded } from "./diff.js";
import { CopyCurl, countText, dateText, Loading, Problem } from "./parts.js";
import { dryRun, Review } from "./review.js";
import { link } from "./route.js";
import { call } from "./session.js";
import { html, useAction, useEffect, useLoad, useState } from "./ui.js";

const PAGE = 20;
/** The highest limit of the API. */
const MAX_LIMIT = 1000;

/**
 * @param {object} properties
 * @param {import("./resources.js").Resource} properties.resource
 * @param {string} properties.sid
 * @param {{object: any, etag: string} | null} properties.version `null` if it was deleted
 * @param {number | null} properties.restoring the version to restore
 * @param {(version: number | null) => void} properties.onRestore
 * @param {(version: {object: any, etag: string}) => void} properties.onRestored
 * @param {() => void} properties.onStale
 */
export function History({ resource, sid, version, restoring, onRestore, onRestored, onStale }) {
  const path = historyPath(resource, sid);
  const [count, setCount] = useState(PAGE);
  const load = (signal) => newestEntries(path, count, signal);
  const { data, error } = useLoad(load, [sid, count]);
  const request = data?.request ?? { path, query: { limit: PAGE } };
  return html`<section class="history" aria-labelledby="history">
    <div class="heading">
      <h2 id="history">History</h2>
      ${data && html`<span class="detail">${countText(data.total, "version")}</span>`}
      <div class="actions"><${CopyCurl} request=${request} /></div>
    </div>
    ${
      restoring !== null &&
      html`<${Restore} key=${restoring} number=${restoring}
        ...${{ resource, sid, version, onStale }}
      onDone=${onRestored} onBack=${() => onRestore(null)} />`
    }
    <${Problem} error=${error} />
    ${!data && !error && html`<${Loading} />`}
    ${
      data &&
      html`<ol class="timeline">
      ${data.entries.map(
        (entry) => html`<${Entry} key=${entry.version} entry=${entry} resource=${resource}
          isCurrent=${version !== null && entry.version === data.newest}
          isDeleted=${version === null} onRestore=${onRestore} />`,
      )}
    </ol>`
    }
    ${
      data &&
      data.entries.length < data.total &&
      html`<button type="button" onClick=${() => setCount(count + 5 * PAGE)}>
        Older versions
      </button>`
    }
  </section>`;
}

/** The path of the history of an object. */
export function historyPath(resource, sid) {
  return `${resource.path}/${encodeURIComponent(sid)}/history`;
}

/**
 * The newest entries, newest first. The API returns the oldest entry first, so they are at an
 * offset.
 *
 * @param {string} path
 * @param {number} count
 * @param {AbortSignal} [signal]
 */
export async function newestEntries(path, count, signal) {
  const { data: first } = await call(
    { path, query: { limit: 1, include_fields: "version" } },
    signal,
  );
  const { total } = first;
  const start = Math.max(0, total - count);
  const query = (read) => ({
    limit: Math.min(MAX_LIMIT, total - start - read),
    offset: start + read,
  });
  const entries = [];
  // A page ends before its limit if its entries are large.
  while (start + entries.length < total) {
    const { data } = await call({ path, query: query(entries.length) }, signal);
    if (data.items.length === 0) break;
    entries.push(...data.items);
  }
  entries.reverse();
  return { entries, total, newest: entries[0]?.version, request: { path, query: query(0) } };
}

const ACTIONS = { create: "created", update: "updated", delete: "deleted", revert: "restored" };

function Entry({ entry, resource, isCurrent, isDeleted, onRestore }) {
  const differences = recorded(entry.changes);
  const isDelete = entry.action === "delete";
  return html`<li class=${entry.action}>
    <div class="heading">
      <h3>Version ${entry.version}</h3>
      <span class="badge">${ACTIONS[entry.action] ?? entry.action}</span>
      <time datetime=${entry.date}>${dateText(entry.date)}</time>
      ${isCurrent && html`<span class="detail">current</span>`}
      <div class="actions">
        ${
          !isCurrent &&
          !isDelete &&
          html`<${RestoreButton} ...${{ resource, entry, isDeleted, onRestore }} />`
        }
      </div>
    </div>
    <${Who} entry=${entry} />
    ${
      differences.length > 0 &&
      html`<${Differences} entry=${entry} differences=${differences} resource=${resource} />`
    }
  </li>`;
}

/** What was changed. A creation or deletion has all members, which are shown on request. */
function Differences({ entry, differences, resource }) {
  const table = html`<${Changes} changes=${differences} resource=${resource} />`;
  if (entry.action === "update" || entry.action === "revert") return table;
  return html`<details>
    <summary>${countText(differences.length, "member")}</summary>
    ${table}
  </details>`;
}

function RestoreButton({ resource, entry, isDeleted, onRestore }) {
  const access = useAccess();
  const needed = isDeleted ? (resource.restore ?? []) : [resource.update];
  const reason = needed.map((scopes) => denied(access, scopes, true)).find(Boolean);
  return html`<span class="scoped">
    ${reason && html`<span class="reason">${reason}</span>`}
    <button type="button" disabled=${Boolean(reason)} onClick=${() => onRestore(entry.version)}>
      Restore<span class="hidden"> version ${entry.version}</span>
    </button>
  </span>`;
}

function Who({ entry }) {
  const { session } = useAccess();
  const isMe = entry.token_sid === session.token.token_sid;
  const isOwn = entry.partner_sid === session.partner.partner_sid;
  const rows = [
    ["Operator", entry.operator],
    [
      "Token",
      entry.token_sid &&
        html`<a href=${link("tokens", entry.token_sid)}>${entry.token_sid}</a>
          ${isMe && " (this session)"}`,
    ],
    [
      "Partner",
      entry.partner_sid &&
        html`<a href=${link("partners", entry.partner_sid)}>
        ${isOwn ? session.partner.name : entry.partner_sid}</a>`,
    ],
    ["Address", entry.ip],
    ["Request", entry.request_id],
  ];
  return html`<dl class="who">
    ${rows
      .filter(([, value]) => value)
      .map(
        ([name, value]) => html`<div key=${name}>
      <dt>${name}</dt>
      <dd>${value}</dd>
    </div>`,
      )}
  </dl>`;
}

/** The dry run of a restoration, its difference, and the restoration. */
function Restore({ resource, sid, version, number, onDone, onBack, onStale }) {
  const { run, error } = useAction();
  const [after, setAfter] = useState(null);
  // Without the object, `*` makes sure that it was not restored meanwhile.
  const condition = version ? { "If-Match": version.etag } : { "If-None-Match": "*" };
  const path = `${resource.path}/${sid}/revert`;
  const request = { method: "POST", path, headers: condition, body: { version: number } };
  const stale = async () => onStale();
  const check = () =>
    run(async () => {
      try {
        setAfter((await call(dryRun(request))).data);
      } catch (caught) {
        if (caught.status !== 412) throw caught;
        await stale();
      }
    });
  useEffect(() => void check(), [version?.etag]);
  if (error) {
    return html`<${Problem} error=${error}>
      <button type="button" onClick=${onBack}>Back</button>
    <//>`;
  }
  if (!after) return html`<${Loading} />`;
  const done = ({ data, etag }) => onDone({ object: data, etag });
  return html`<${Review} key=${version?.etag} before=${version?.object ?? {}} after=${after}
    request=${request}
    resource=${resource} verb=${`Restore version ${number}`} onDone=${done} onBack=${onBack}
    onStale=${stale} />`;
}
