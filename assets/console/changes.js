/** Differences as a table: the member, its value before and after. */

import { pathKey } from "./diff.js";
import { html } from "./ui.js";
import { Value } from "./value.js";

/**
 * @param {object} properties
 * @param {import("./diff.js").Change[]} properties.changes
 * @param {import("./resources.js").Resource} properties.resource
 */
export function Changes({ changes, resource }) {
  return html`<table class="changes" role="table">
    <thead role="rowgroup">
      <tr role="row">
        <th role="columnheader" scope="col">Member</th>
        <th role="columnheader" scope="col">Before</th>
        <th role="columnheader" scope="col">After</th>
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${changes.map(({ path, before, after }) => {
        const member = memberOf(resource, path);
        return html`<tr role="row" key=${pathKey(path)}>
          <th role="rowheader" scope="row"><${Path} path=${path} /></th>
          <td role="cell" data-label="Before">
            <del><${Value} value=${before} member=${member} /></del>
          </td>
          <td role="cell" data-label="After">
            <ins><${Value} value=${after} member=${member} /></ins>
          </td>
        </tr>`;
      })}
    </tbody>
  </table>`;
}

/** A path as in a filter, which can be broken after its dots. */
export function Path({ path }) {
  const names = path.map((name, index) => (index === 0 ? name : html`.<wbr />${name}`));
  return html`<code>${names}</code>`;
}

/** The member at a path, or `undefined` for a value inside a nested object. */
export function memberOf(resource, path) {
  return path.length === 1 ? resource.members.find(({ name }) => name === path[0]) : undefined;
}
