/** The view in the fragment of the URL: `#/short_codes/<sid>?order=name`. */

import { useEffect, useState } from "./preact-hooks.js";

/** @typedef {{view: string, sid: string | null, query: Record<string, string>}} Route */

/** The view that is shown first. */
export const HOME = "short_codes";

/**
 * @param {string} fragment
 * @returns {Route}
 */
export function parseRoute(fragment) {
  const [path, query = ""] = fragment.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [view, sid] = path.split("/");
  return {
    view: view || HOME,
    sid: sid || null,
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/**
 * @param {string} view
 * @param {string | null} [sid]
 * @param {Record<string, string | undefined>} [query]
 * @returns {string}
 */
export function link(view, sid, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(given).toString();
  return `#/${view}${sid ? `/${sid}` : ""}${text && `?${text}`}`;
}

let guard = () => true;

/**
 * Asks before the view is left. `null` removes the question.
 *
 * @param {(() => boolean) | null} mayLeave
 */
export function guardRoute(mayLeave) {
  guard = mayLeave ?? (() => true);
}

/** @returns {Route} */
export function useRoute() {
  const [fragment, setFragment] = useState(location.hash);
  useEffect(() => {
    const change = () => {
      if (location.hash === fragment) return;
      if (guard()) setFragment(location.hash);
      else history.replaceState(null, "", fragment || "#/");
    };
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, [fragment]);
  return parseRoute(fragment);
}
