/** An editor of a JSON value as a tree: a row for each member, and a list below each list. */

import { isNumber, isObject, parse, stringify } from "./json.js";
import { html, useEffect, useId, useRef, useState } from "./ui.js";

const KINDS = {
  text: "",
  number: 0,
  "true or false": false,
  null: null,
  object: {},
  list: [],
};

/**
 * An object or a list.
 *
 * @param {{value: object, onChange: (value: object) => void, label: string}} properties
 */
export function Tree({ value, onChange, label }) {
  const entries = isObject(value)
    ? Object.entries(value)
    : value.map((item, index) => [index, item]);
  const build = (pairs) =>
    onChange(isObject(value) ? Object.fromEntries(pairs) : pairs.map(([, v]) => v));
  const change = (index, next) =>
    build(entries.map((pair, at) => (at === index ? [pair[0], next] : pair)));
  const remove = (index) => build(entries.filter((_, at) => at !== index));
  return html`<div class="tree" role="group" aria-label=${label}>
    ${entries.map(
      ([name, item], index) => html`<${Node} key=${name} name=${String(name)} value=${item}
        path=${`${label} ${name}`} onChange=${(next) => change(index, next)}
        onRemove=${() => remove(index)} />`,
    )}
    <${Adder} value=${value} label=${label} onAdd=${(pair) => build([...entries, pair])} />
  </div>`;
}

function Node({ name, value, path, onChange, onRemove }) {
  const kind = kindOf(value);
  const isNested = kind === "object" || kind === "list";
  return html`<div class=${isNested ? "node nested" : "node"}>
    <code class="key">${name}</code>
    <${KindSelect} kind=${kind} label=${`Type of ${path}`}
      onChange=${(next) => onChange(KINDS[next])} />
    ${!isNested && html`<${Leaf} kind=${kind} value=${value} label=${path} onChange=${onChange} />`}
    <button type="button" class="quiet" aria-label=${`Remove ${path}`} onClick=${onRemove}>
      Remove
    </button>
    ${isNested && html`<${Tree} value=${value} label=${path} onChange=${onChange} />`}
  </div>`;
}

function KindSelect({ kind, label, onChange }) {
  return html`<select aria-label=${label} value=${kind} onChange=${(e) => onChange(e.target.value)}>
    ${Object.keys(KINDS).map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
  </select>`;
}

function Leaf({ kind, value, label, onChange }) {
  if (kind === "null") return html`<span></span>`;
  if (kind === "number") return html`<${NumberInput} ...${{ value, label, onChange }} />`;
  if (kind === "true or false") {
    return html`<select aria-label=${label} value=${String(value)}
      onChange=${(event) => onChange(event.target.value === "true")}>
      <option>true</option>
      <option>false</option>
    </select>`;
  }
  return html`<input aria-label=${label} value=${value}
    onInput=${(e) => onChange(e.target.value)} />`;
}

/** A number as text, so that its digits stay as they are typed. */
function NumberInput({ value, label, onChange }) {
  const input = useRef(null);
  const [typed, setTyped] = useState(() => stringify(value));
  useEffect(() => {
    if (parsed(typed) === undefined || stringify(parsed(typed)) !== stringify(value)) {
      setTyped(stringify(value));
    }
  }, [stringify(value)]);
  const type = (event) => {
    const text = event.target.value;
    const number = parsed(text);
    setTyped(text);
    input.current.setCustomValidity(number === undefined ? "not a number" : "");
    if (number !== undefined) onChange(number);
  };
  return html`<input ref=${input} aria-label=${label} inputmode="decimal" value=${typed}
    aria-invalid=${parsed(typed) === undefined} onInput=${type} />`;
}

function parsed(text) {
  try {
    const value = parse(text);
    return isNumber(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Adds a member to an object, or an item to a list. */
function Adder({ value, label, onAdd }) {
  const id = useId();
  const input = useRef(null);
  const isList = Array.isArray(value);
  const add = () => {
    const name = isList ? value.length : input.current.value;
    if (!isList && (!name || Object.hasOwn(value, name))) return input.current.focus();
    if (!isList) input.current.value = "";
    onAdd([name, ""]);
  };
  const addOnEnter = (event) => {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    add();
  };
  return html`<div class="node adder">
    ${
      !isList &&
      html`<input id=${id} ref=${input} placeholder="new member"
        aria-label=${`New member of ${label}`}
      autocomplete="off" onKeyDown=${addOnEnter} />`
    }
    <button type="button" class="quiet" onClick=${add}>${isList ? "Add item" : "Add"}</button>
  </div>`;
}

function kindOf(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  if (isObject(value)) return "object";
  if (isNumber(value)) return "number";
  return typeof value === "boolean" ? "true or false" : "text";
}
