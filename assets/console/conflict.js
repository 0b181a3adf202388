/** Two people changed one object: what I changed, what they changed, and what we started from. */

import { memberOf, Path } from "./changes.js";
import { merged, pathKey, pathText, threeWay } from "./diff.js";
import { html, useFocus, useId, useState } from "./ui.js";
import { Value } from "./value.js";

/**
 * @param {object} properties
 * @param {import("./resources.js").Resource} properties.resource
 * @param {any} properties.base the version that I started from
 * @param {any} properties.mine
 * @param {any} properties.theirs the version that is stored now
 * @param {(merged: any) => void} properties.onMerged
 * @param {() => void} properties.onDiscard
 */
export function Conflict({ resource, base, mine, theirs, onMerged, onDiscard }) {
  const heading = useFocus();
  const rows = threeWay(base, mine, theirs);
  const [choices, setChoices] = useState({});
  const conflicts = rows.filter(({ source }) => source === "conflict");
  const open = conflicts.filter((row) => !choices[pathKey(row.path)]);
  const choose = (row, choice) => setChoices((old) => ({ ...old, [pathKey(row.path)]: choice }));
  const isMine = (row) => choices[pathKey(row.path)] === "mine";
  return html`<section class="review" aria-labelledby="conflict">
    <h2 id="conflict" tabindex="-1" ref=${heading}>
      Somebody else has changed this ${resource.one}
    </h2>
    <p>
      Your changes are not saved, and theirs are not lost. What only one of you changed is retained.
      ${" "}${conflicts.length > 0 && "Choose a value where you both changed the same member."}
    </p>
    <table class="changes three" role="table">
      <thead role="rowgroup">
        <tr role="row">
          ${["Member", "Started from", "Theirs", "Mine", "Result"].map(
            (title) => html`<th role="columnheader" scope="col">${title}</th>`,
          )}
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${rows.map(
          (row) => html`<${Row} key=${pathKey(row.path)} resource=${resource} row=${row}
            choice=${choices[pathKey(row.path)]} onChoose=${(choice) => choose(row, choice)} />`,
        )}
      </tbody>
    </table>
    <div class="buttons">
      <button type="button" class="primary" disabled=${open.length > 0}
        onClick=${() => onMerged(merged(theirs, rows, isMine))}>
        Review the merged changes
      </button>
      <button type="button" onClick=${onDiscard}>Discard mine</button>
      ${open.length > 0 && html`<span class="reason">${open.length} left to choose</span>`}
    </div>
  </section>`;
}

function Row({ resource, row, choice, onChoose }) {
  const { path, base, theirs, mine, source } = row;
  const member = memberOf(resource, path);
  const cell = (label, value) =>
    html`<td role="cell" data-label=${label}><${Value} value=${value} member=${member} /></td>`;
  return html`<tr role="row" class=${source}>
    <th role="rowheader" scope="row"><${Path} path=${path} /></th>
    ${cell("Started from", base)} ${cell("Theirs", theirs)} ${cell("Mine", mine)}
    <td role="cell" data-label="Result">
      ${
        source === "conflict"
          ? html`<${Choice} path=${pathText(path)} choice=${choice} onChoose=${onChoose} />`
          : { mine: "mine", theirs: "theirs", both: "the same" }[source]
      }
    </td>
  </tr>`;
}

function Choice({ path, choice, onChoose }) {
  const name = useId();
  const option = (value) => html`<label>
    <input type="radio" name=${name} checked=${choice === value}
      onChange=${() => onChoose(value)} />
    ${value}
  </label>`;
  return html`<fieldset class="choose">
    <legend class="hidden">Result for ${path}</legend>
    ${option("theirs")} ${option("mine")}
  </fieldset>`;
}
