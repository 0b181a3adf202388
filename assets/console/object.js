/** One object: its members, a form to change them, and its history. */

import { denied, useAccess } from "./access.js";
import { Edit, objectRequest, readVersion } from "./edit.js";
import { EndpointPanel } from "./endpoint.js";
import { History, historyPath, newestEntries } from "./history.js";
import { isObject } from "./json.js";
import { CopyCurl, Heading, Loading, Notice, Problem, ScopedButton } from "./parts.js";
import { labelOf, RESOURCES } from "./resources.js";
import { link } from "./route.js";
import { call } from "./session.js";
import { Denied } from "./table.js";
import { html, useLoad, useState } from "./ui.js";
import { Value } from "./value.js";

/** The view of an object, or of a deleted one. */
export function ObjectView({ resource, sid, query }) {
  const reason = denied(useAccess(), resource.read);
  if (reason) return html`<${Denied} resource=${resource} reason=${reason} />`;
  if (query.deleted) return html`<${Deleted} key="deleted" resource=${resource} sid=${sid} />`;
  return html`<${Live} key="live" resource=${resource} sid=${sid} />`;
}

function Live({ resource, sid }) {
  const load = (signal) => readVersion(resource, sid, signal);
  const { data: version, error, reload } = useLoad(load, [sid]);
  if (error) return html`<${Missing} resource=${resource} sid=${sid} error=${error} />`;
  if (!version) return html`<${Loading} />`;
  return html`<${Loaded} resource=${resource} version=${version} reload=${reload} />`;
}

/** What somebody sees who follows a link to an object that is gone. */
function Missing({ resource, sid, error }) {
  if (error.status !== 404)
    return html`<${Heading} title=${resource.title} /><${Problem} error=${error} />`;
  return html`<${Heading} title=${`No such ${resource.one}`} />
    <p class="empty">
      This token can see no ${resource.one} with the sid <code>${sid}</code>.
      ${
        resource.restore &&
        html` It may have been deleted: <a href=${link(resource.view, sid, { deleted: "true" })}>
          look among the deleted objects</a>.`
      }
    </p>`;
}

function Loaded({ resource, version, reload }) {
  const { object, etag } = version;
  const sid = object[resource.sid];
  const [isEditing, setIsEditing] = useState(false);
  const [saved, setSaved] = useState(null);
  const [restoring, setRestoring] = useState(null);
  const finish = (message, undo) => {
    setIsEditing(false);
    setRestoring(null);
    setSaved({ message, undo });
    reload();
  };
  const save = (next, from) => {
    const isSame = next.etag === from;
    finish(
      isSame ? "Nothing had to be changed." : `Saved${asVersion(next.etag)}.`,
      isSame ? null : from,
    );
  };
  const undo = () => {
    setRestoring(numberOf(saved.undo));
    setSaved(null);
  };
  return html`<${Heading} title=${labelOf(resource, object)}
      detail=${`${resource.one}${etag ? `, version ${numberOf(etag)}` : ""}`}>
      ${
        resource.update &&
        !isEditing &&
        html`<${ScopedButton} class="primary" scopes=${resource.update}
        onClick=${() => {
          setIsEditing(true);
          setSaved(null);
        }}>Edit<//>`
      }
      <${CopyCurl} request=${objectRequest(resource, sid)} />
    <//>
    ${
      saved &&
      html`<${Notice} key=${saved.message}>
      ${saved.message}
      ${
        saved.undo &&
        resource.hasHistory &&
        html`<button type="button" onClick=${undo}>Undo</button>`
      }
    <//>`
    }
    <div class="columns">
      <div class="main">
        ${
          isEditing
            ? html`<${Edit} resource=${resource} version=${version} onSaved=${save}
              onStale=${reload}
              onCancel=${() => {
                setIsEditing(false);
                reload();
              }} />`
            : html`<${Members} resource=${resource} object=${object} />`
        }
        ${resource === RESOURCES.endpoints && html`<${EndpointPanel} key=${sid} sid=${sid} />`}
      </div>
      ${
        resource.hasHistory &&
        html`<${History} key=${etag} resource=${resource} sid=${sid} version=${version}
        restoring=${restoring} onRestore=${setRestoring}
        onRestored=${(next) => finish(`Restored${asVersion(next.etag)}.`, etag)}
        onStale=${reload} />`
      }
    </div>`;
}

/** A deleted object as it was last, which its history can restore. */
function Deleted({ resource, sid }) {
  const load = (signal) => lastState(resource, sid, signal);
  const { data: object, error, loading } = useLoad(load, [sid]);
  const [restoring, setRestoring] = useState(null);
  if (loading) return html`<${Loading} />`;
  if (error && error.status !== 404) {
    return html`<${Heading} title=${resource.title} /><${Problem} error=${error} />`;
  }
  if (!object) {
    return html`<${Heading} title=${`No deleted ${resource.one}`} />
      <p class="empty">
        This token can see no deleted ${resource.one} with this sid. It may have been restored:
        ${" "}<a href=${link(resource.view, sid)}>open it</a>.
      </p>`;
  }
  const open = () => (location.hash = link(resource.view, sid));
  return html`<${Heading} title=${labelOf(resource, object)} detail=${`deleted ${resource.one}`} />
    <div class="columns">
      <div class="main">
        <p class="empty">This ${resource.one} was deleted. Its last state:</p>
        <${Members} resource=${resource} object=${object} />
      </div>
      <${History} resource=${resource} sid=${sid} version=${null} restoring=${restoring}
        onRestore=${setRestoring} onRestored=${open} onStale=${open} />
    </div>`;
}

/** The members in the entry of the deletion, or `null` if the newest entry is another one. */
async function lastState(resource, sid, signal) {
  const { entries } = await newestEntries(historyPath(resource, sid), 1, signal);
  const [{ action, changes }] = entries;
  if (action !== "delete") return null;
  const names = resource.members.map(({ name }) => name);
  return Object.fromEntries(names.map((name) => [name, changes[name]?.before ?? null]));
}

function Members({ resource, object }) {
  const isGroup = ({ name }) => isObject(object[name]) && Object.keys(object[name]).length > 0;
  return html`<dl class="members">
    ${resource.members.map(
      (member) => html`<div key=${member.name} class=${isGroup(member) ? "wide" : ""}>
        <dt>${member.label} <code>${member.name}</code></dt>
        <dd>
          ${
            member.of && object[member.name]
              ? html`<${Related} of=${member.of} sid=${object[member.name]} />`
              : html`<${Value} value=${object[member.name]} member=${member} />`
          }
        </dd>
      </div>`,
    )}
  </dl>`;
}

/** A related object by its name, as far as the token can read it. */
function Related({ of, sid }) {
  const resource = RESOURCES[of];
  const isDenied = denied(useAccess(), resource.read) !== null;
  const request = { ...objectRequest(resource, sid), query: { include_fields: "name" } };
  const load = async (signal) => (isDenied ? null : (await call(request, signal)).data.name);
  const { data: name } = useLoad(load, [sid]);
  if (!name)
    return html`<${Value} value=${sid} member=${{ kind: "sid", of: isDenied ? null : of }} />`;
  return html`<a href=${link(of, sid)}>${name}</a>
    <code class="sid related">${sid}</code>`;
}

function numberOf(etag) {
  return Number(etag.replace(/\D/g, ""));
}

function asVersion(etag) {
  return etag ? ` as version ${numberOf(etag)}` : "";
}
