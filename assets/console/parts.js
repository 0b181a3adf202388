/** Small parts of several views. */

import { denied, useAccess } from "./access.js";
import { urlOf } from "./api.js";
import { curl } from "./curl.js";
import { html, useFocus, useRef, useState } from "./ui.js";

/** The heading of a view, which gets the focus, with its actions. */
export function Heading({ title, detail, children }) {
  const heading = useFocus();
  return html`<header class="heading">
    <h1 tabindex="-1" ref=${heading}>${title}</h1>
    ${detail && html`<p class="detail">${detail}</p>`}
    <div class="actions">${children}</div>
  </header>`;
}

/**
 * A button for what needs a scope. Without it, the button is grey and the scope is named.
 */
export function ScopedButton({ scopes, isWrite = true, children, disabled, ...rest }) {
  const reason = denied(useAccess(), scopes, isWrite);
  return html`<span class="scoped">
    <button type="button" ...${rest} disabled=${disabled || reason !== null}>${children}</button>
    ${reason && html`<span class="reason">${reason}</span>`}
  </span>`;
}

/** Copies the `curl` command of a request. */
export function CopyCurl({ request, label = "Copy as curl" }) {
  return html`<${CopyButton} text=${() => curl(request, urlOf(request))} label=${label} />`;
}

/** Copies a text, or shows it where the browser does not allow that. */
export function CopyButton({ text, label }) {
  const [state, setState] = useState({ copied: false, shown: null });
  const timer = useRef(0);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      setState({ copied: true, shown: null });
      clearTimeout(timer.current);
      timer.current = setTimeout(() => setState({ copied: false, shown: null }), 2000);
    } catch {
      setState({ copied: false, shown: text() });
    }
  };
  return html`<span class="copy">
    <button type="button" class="quiet" onClick=${copy}>
      <span aria-live="polite">${state.copied ? "Copied" : label}</span>
    </button>
    ${
      state.shown &&
      html`<textarea readonly rows="5" aria-label=${label}
        onFocus=${(event) => event.target.select()}
      value=${state.shown}></textarea>`
    }
  </span>`;
}

/** An error with what to do about it. */
export function Problem({ error, children }) {
  if (!error) return null;
  return html`<div class="problem" role="alert">
    <p><strong>${sentence(error.message)}</strong></p>
    ${
      error.errors?.length > 0 &&
      html`<ul>
      ${error.errors.map(
        ({ field, message }) => html`<li>${field && html`<code>${field}</code>`} ${message}</li>`,
      )}
    </ul>`
    }
    ${children}
  </div>`;
}

/** Capital letter and full stop. */
export function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "";
}

/** Appears only after a while, so that it does not flicker. */
export function Loading() {
  return html`<p class="loading" role="status">Loading …</p>`;
}

/** A message about something that went well. */
export function Notice({ children }) {
  const notice = useFocus();
  return html`<div class="notice" role="status" tabindex="-1" ref=${notice}>${children}</div>`;
}

/** @param {string} iso */
export function dateText(iso) {
  return iso.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");
}

/** @param {number} count */
export function countText(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
