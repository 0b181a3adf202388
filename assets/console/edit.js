/** A change of an object: form, dry run, difference, write under `If-Match`, and a merge. */

import { Conflict } from "./conflict.js";
import { Field } from "./fields.js";
import { isObject, same } from "./json.js";
import { Problem } from "./parts.js";
import { dryRun, Review } from "./review.js";
import { guardRoute } from "./route.js";
import { call } from "./session.js";
import { html, useAction, useEffect, useRef, useState } from "./ui.js";

/**
 * @param {object} properties
 * @param {import("./resources.js").Resource} properties.resource
 * @param {{object: any, etag: string}} properties.version the version to start from
 * @param {(version: {object: any, etag: string}, from: string) => void} properties.onSaved
 * @param {() => void} properties.onStale called if somebody else has changed the object
 * @param {() => void} properties.onCancel
 */
export function Edit({ resource, version, onSaved, onStale, onCancel }) {
  const [base, setBase] = useState(version);
  const [draft, setDraft] = useState(version.object);
  const [step, setStep] = useState({ name: "form" });
  const { run, busy, error, setError } = useAction();
  const patch = patchOf(resource, base.object, draft);
  useGuard(Object.keys(patch).length > 0);

  const conflict = async () => {
    const theirs = await readVersion(resource, version.object[resource.sid]);
    setStep({ name: "conflict", theirs });
    onStale();
  };
  const review = (from, wanted) =>
    run(async () => {
      const request = patchRequest(resource, from, wanted);
      try {
        const { data: after } = await call(dryRun(request));
        setStep({ name: "review", after, request });
      } catch (caught) {
        if (caught.status !== 412) throw caught;
        await conflict();
      }
    });
  const accept = (object) => {
    const { theirs } = step;
    setBase(theirs);
    setDraft(object);
    setStep({ name: "form" });
    review(theirs, object);
  };
  const save = ({ data, etag }) => onSaved({ object: data, etag }, base.etag);

  if (step.name === "review") {
    const { after, request } = step;
    return html`<${Review} before=${base.object} after=${after} request=${request} verb="Save"
      resource=${resource} onDone=${save} onStale=${conflict}
      onBack=${() => setStep({ name: "form" })} />`;
  }
  if (step.name === "conflict") {
    return html`<${Conflict} base=${base.object} mine=${draft} theirs=${step.theirs.object}
      resource=${resource} onMerged=${accept} onDiscard=${onCancel} />`;
  }
  return html`<${Form} ...${{ resource, draft, busy, error, onCancel }}
    isChanged=${Object.keys(patch).length > 0}
    onChange=${(name, value) => {
      setError(null);
      setDraft((old) => ({ ...old, [name]: value }));
    }}
    onReview=${() => review(base, draft)} />`;
}

function Form({ resource, draft, busy, error, isChanged, onChange, onReview, onCancel }) {
  const form = useRef(null);
  const members = resource.members.filter(({ edit }) => edit);
  useEffect(() => form.current.querySelector("input, textarea, select").focus(), []);
  const errorOf = (name) =>
    error?.errors?.find(({ field }) => field === name || field?.startsWith(`${name}.`))?.message;
  const submit = (event) => {
    event.preventDefault();
    if (form.current.reportValidity() && isChanged) onReview();
  };
  const keys = (event) => {
    if (event.key === "Escape" && !isChanged) onCancel();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
  };
  return html`<form class="edit" ref=${form} novalidate onSubmit=${submit} onKeyDown=${keys}>
    ${members.map(
      (member) => html`<${Field} key=${member.name} member=${member} value=${draft[member.name]}
        object=${draft} error=${errorOf(member.name)}
        onChange=${(value) => onChange(member.name, value)} />`,
    )}
    <${Problem} error=${error} />
    <div class="buttons">
      <button type="submit" class="primary" disabled=${busy || !isChanged}>Review changes</button>
      <button type="button" onClick=${onCancel}>Cancel</button>
      <span class="hint">
        ${isChanged ? "Ctrl+Enter reviews the changes" : "Nothing is changed yet"}
      </span>
    </div>
  </form>`;
}

/** Asks before unsaved changes are lost. */
function useGuard(isChanged) {
  useEffect(() => {
    if (!isChanged) return undefined;
    const ask = (event) => event.preventDefault();
    addEventListener("beforeunload", ask);
    guardRoute(() => confirm("Discard your changes?"));
    return () => {
      removeEventListener("beforeunload", ask);
      guardRoute(null);
    };
  }, [isChanged]);
}

/**
 * The members that differ and that the console can change.
 *
 * @param {import("./resources.js").Resource} resource
 * @param {any} base
 * @param {any} draft
 * @returns {Record<string, unknown>}
 */
export function patchOf(resource, base, draft) {
  const names = resource.members.filter(({ edit }) => edit).map(({ name }) => name);
  const changed = names.filter((name) => !same(base[name], draft[name]));
  return Object.fromEntries(changed.map((name) => [name, draft[name]]));
}

/** A PATCH that replaces nested objects, so that the result is what the form shows. */
function patchRequest(resource, { object, etag }, draft) {
  const body = patchOf(resource, object, draft);
  const isNested = Object.values(body).some(isObject);
  return {
    method: "PATCH",
    path: `${resource.path}/${object[resource.sid]}`,
    query: isNested ? { nested_objects: "replace" } : {},
    headers: { "If-Match": etag },
    body,
  };
}

/**
 * @param {import("./resources.js").Resource} resource
 * @param {string} sid
 * @param {AbortSignal} [signal]
 * @returns {Promise<{object: any, etag: string | null}>}
 */
export async function readVersion(resource, sid, signal) {
  const { data, etag } = await call(objectRequest(resource, sid), signal);
  return { object: data, etag };
}

/** The GET of an object. */
export function objectRequest(resource, sid) {
  return { path: `${resource.path}/${encodeURIComponent(sid)}` };
}
