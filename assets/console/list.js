/** The request of a list, from the query in the fragment of the URL. */

import { filterOf } from "./resources.js";

/** Items on a page. */
export const PAGE_SIZE = 50;

/**
 * The members that are shown as columns.
 *
 * @param {import("./resources.js").Resource} resource
 * @param {Record<string, string>} query
 * @returns {import("./resources.js").Member[]}
 */
export function columnsOf(resource, query) {
  const chosen = query.columns?.split(",") ?? resource.columns;
  const columns = chosen.map((name) => resource.members.find((member) => member.name === name));
  const known = columns.filter(Boolean);
  return known.length > 0 ? known : resource.members.slice(0, 1);
}

/**
 * A page: by offset if it is sorted, by keyset if it is not.
 *
 * @param {import("./resources.js").Resource} resource
 * @param {Record<string, string>} query
 * @returns {import("./api.js").Request}
 */
export function listRequest(resource, query) {
  const columns = columnsOf(resource, query);
  const names = [resource.sid, resource.members[0].name, ...columns.map(({ name }) => name)];
  const withPartner = columns.some(isOwner);
  if (withPartner) names.push("partner.name");
  const isSorted = query.order && !query.deleted;
  const place = isSorted
    ? { order: query.order, offset: query.offset }
    : { after: query.after, before: query.before };
  return {
    path: resource.path,
    query: {
      limit: PAGE_SIZE,
      filter: query.deleted ? undefined : filterOf(resource, query.filter ?? ""),
      ...place,
      deleted: query.deleted,
      include_fields: [...new Set(names)].join(","),
      with_related: withPartner ? "true" : undefined,
    },
  };
}

/**
 * True for the member that names the owner, of which a list shows the name.
 *
 * @param {import("./resources.js").Member} member
 * @returns {boolean}
 */
export function isOwner(member) {
  return member.name === "partner_sid" && member.of === "partners";
}

/**
 * The queries of the neighbouring pages, or `null` where there is none.
 *
 * @param {import("./resources.js").Resource} resource
 * @param {Record<string, string>} query
 * @param {any} page
 * @returns {{previous: Record<string, string> | null, next: Record<string, string> | null}}
 */
export function neighbours(resource, query, { items, pagination }) {
  const { after, before, offset, ...rest } = query;
  const at = (place) => ({ ...rest, ...place });
  if (query.order) {
    const here = Number(offset) || 0;
    const back = Math.max(0, here - PAGE_SIZE);
    return {
      previous: here > 0 ? at(back > 0 ? { offset: String(back) } : {}) : null,
      next: pagination.next ? at({ offset: String(here + PAGE_SIZE) }) : null,
    };
  }
  return {
    previous: pagination.previous ? at({ before: items[0]?.[resource.sid] ?? after }) : null,
    next: pagination.next ? at({ after: items.at(-1)?.[resource.sid] ?? before }) : null,
  };
}

/**
 * The order after a click on a column: ascending, descending, none.
 *
 * @param {string | undefined} order
 * @param {string} name
 * @returns {string | undefined}
 */
export function nextOrder(order, name) {
  if (order === name) return `${name} desc`;
  return order === `${name} desc` ? undefined : name;
}
