/** The inputs of a form: one for each member that can be changed. */

import { isObject, parse, stringify } from "./json.js";
import { RESOURCES, filterText } from "./resources.js";
import { call } from "./session.js";
import { Tree } from "./tree.js";
import { html, useEffect, useId, useLoad, useRef, useState } from "./ui.js";

/**
 * @param {object} properties
 * @param {import("./resources.js").Member} properties.member
 * @param {unknown} properties.value
 * @param {any} properties.object the object that has the member
 * @param {string | undefined} properties.error
 * @param {(value: unknown) => void} properties.onChange
 */
export function Field({ member, value, object, error, onChange }) {
  const id = useId();
  const Input = INPUTS[member.kind];
  const describedBy = error ? `${id}-error` : undefined;
  const isGroup = member.kind === "json";
  const label = html`${member.label} <code>${member.name}</code>`;
  return html`<div class="field">
    ${isGroup ? html`<span class="label">${label}</span>` : html`<label for=${id}>${label}</label>`}
    <${Input} ...${{ id, member, value, object, describedBy, onChange }} />
    ${error && html`<p class="error" id=${describedBy}>${error}</p>`}
  </div>`;
}

function TextInput({ id, member, value, describedBy, onChange, list }) {
  const change = (event) => onChange(textValue(member, event.target.value));
  const isUrl = member.kind === "url";
  return html`<input id=${id} value=${value ?? ""} list=${list} autocomplete="off"
    spellcheck="false"
    inputmode=${isUrl ? "url" : undefined} placeholder=${value === null ? "not set" : ""}
    aria-invalid=${Boolean(describedBy)} aria-describedby=${describedBy} onInput=${change} />`;
}

/** An empty input means null, where the member can be null. */
function textValue(member, text) {
  return text === "" && !member.required ? null : text;
}

/** The sid of an object, with the DID groups of the same partner to choose from. */
function SidInput(properties) {
  const { id, member, object } = properties;
  if (member.of !== "did_groups") return html`<${TextInput} ...${properties} />`;
  const filter = `partner_sid eq ${filterText(object.partner_sid)}`;
  const query = { filter, limit: 100, include_fields: "did_group_sid,name" };
  const load = async (signal) =>
    (await call({ path: RESOURCES.did_groups.path, query }, signal)).data;
  const { data } = useLoad(load, [object.partner_sid]);
  return html`<${TextInput} ...${properties} list=${`${id}-list`} />
    <datalist id=${`${id}-list`}>
      ${data?.items.map(
        ({ did_group_sid: sid, name }) => html`<option key=${sid} value=${sid}>${name}</option>`,
      )}
    </datalist>`;
}

function ChoiceInput({ id, member, value, describedBy, onChange }) {
  const text = (choice) => ({ true: "yes", false: "no" })[String(choice)] ?? choice;
  const change = (event) => onChange(member.choices[event.target.selectedIndex]);
  return html`<select id=${id} aria-describedby=${describedBy} onChange=${change}>
    ${member.choices.map(
      (choice) => html`<option key=${choice} selected=${choice === value}>${text(choice)}</option>`,
    )}
  </select>`;
}

/** A list of words, one on each line. */
function ListInput({ id, value, describedBy, onChange }) {
  const [text, setText] = useState(() => value.join("\n"));
  const change = (event) => {
    setText(event.target.value);
    onChange(event.target.value.split(/\s+/).filter(Boolean));
  };
  return html`<textarea id=${id} rows=${Math.min(10, value.length + 1)} spellcheck="false"
    value=${text}
    aria-describedby=${describedBy} onInput=${change}></textarea>`;
}

/** JSON as a tree or as text. */
function JsonInput({ member, value, describedBy, onChange }) {
  const [isText, setIsText] = useState(false);
  const { label } = member;
  const option = (
    wanted,
    name,
  ) => html`<button type="button" class="quiet" aria-pressed=${isText === wanted}
    onClick=${() => setIsText(wanted)}>${name}</button>`;
  return html`<div class="json" aria-describedby=${describedBy}>
    <div class="choice" role="group" aria-label=${`${label} as`}>
      ${option(false, "Tree")} ${option(true, "JSON")}
    </div>
    ${
      isText
        ? html`<${JsonText} ...${{ member, value, onChange }} />`
        : html`<${Tree} value=${value} label=${label} onChange=${onChange} />`
    }
  </div>`;
}

function JsonText({ member, value, onChange }) {
  const id = useId();
  const input = useRef(null);
  const [text, setText] = useState(() => stringify(value, 2));
  const [problem, setProblem] = useState("");
  useEffect(() => input.current.setCustomValidity(problem), [problem]);
  const change = (event) => {
    const typed = event.target.value;
    setText(typed);
    const result = jsonOf(typed, Array.isArray(value));
    setProblem(result.problem ?? "");
    if (!result.problem) onChange(result.value);
  };
  return html`<textarea ref=${input} class="mono" spellcheck="false" value=${text} onInput=${change}
      rows=${Math.min(24, Math.max(6, text.split("\n").length + 1))}
      aria-label=${`${member.label} as JSON`}
      aria-invalid=${Boolean(problem)} aria-describedby=${problem ? id : undefined}></textarea>
    ${problem && html`<p class="error" id=${id}>${problem}</p>`}`;
}

function jsonOf(text, isList) {
  try {
    const value = parse(text);
    const fits = isList ? Array.isArray(value) : isObject(value);
    return fits ? { value } : { problem: isList ? "must be a list" : "must be an object" };
  } catch (error) {
    return { problem: `not valid JSON: ${error.message}` };
  }
}

const INPUTS = {
  text: TextInput,
  url: TextInput,
  sid: SidInput,
  choice: ChoiceInput,
  list: ListInput,
  json: JsonInput,
};
