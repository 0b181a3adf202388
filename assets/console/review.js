/** The last step before a write: the difference that a dry run has shown. */

import { Changes } from "./changes.js";
import { changes } from "./diff.js";
import { CopyCurl, Problem } from "./parts.js";
import { call } from "./session.js";
import { html, useAction, useFocus } from "./ui.js";

/**
 * @param {object} properties
 * @param {import("./resources.js").Resource} properties.resource
 * @param {any} properties.before the object as it is
 * @param {any} properties.after the result of the dry run
 * @param {import("./api.js").Request} properties.request the write
 * @param {string} properties.verb
 * @param {(answer: import("./api.js").Answer) => void} properties.onDone
 * @param {() => void} properties.onBack
 * @param {() => Promise<void>} properties.onStale called if the object has changed meanwhile
 */
export function Review({ resource, before, after, request, verb, onDone, onBack, onStale }) {
  const { run, busy, error } = useAction();
  const heading = useFocus();
  const differences = changes(before, after);
  const write = () =>
    run(async () => {
      try {
        onDone(await call(request));
      } catch (caught) {
        if (caught.status !== 412) throw caught;
        await onStale();
      }
    });
  return html`<section class="review" aria-labelledby="review">
    <h2 id="review" tabindex="-1" ref=${heading}>Review the changes</h2>
    <p>The server has checked them. Nothing is saved yet.</p>
    ${
      differences.length > 0
        ? html`<${Changes} changes=${differences} resource=${resource} />`
        : html`<p class="empty">The object already has these values.</p>`
    }
    <${Problem} error=${error} />
    <div class="buttons">
      <button type="button" class="primary" disabled=${busy || differences.length === 0}
        onClick=${write}>
        ${verb}
      </button>
      <button type="button" onClick=${onBack}>Back</button>
      <${CopyCurl} request=${request} />
    </div>
  </section>`;
}

/**
 * A write without its effect: the same request as a dry run.
 *
 * @param {import("./api.js").Request} request
 * @returns {import("./api.js").Request}
 */
export function dryRun(request) {
  return { ...request, query: { ...request.query, validate_only: "true" } };
}
