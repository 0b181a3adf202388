/** What the scopes of the session and the mode of the console allow. */

import { createContext } from "./preact.js";
import { useContext } from "./preact-hooks.js";

/**
 * The session and the settings of the console.
 *
 * @type {import("./preact.js").Context<{session: import("./session.js").Session,
 *   readOnly: boolean}>}
 */
export const Access = createContext(null);

/** The session and the settings, in a component. */
export const useAccess = () => useContext(Access);

/**
 * The reason why an action is not allowed, or `null`.
 *
 * @param {{session: {scopes: string[]}, readOnly: boolean}} access
 * @param {string[]} anyOf the scopes of which one is enough, the usual one first
 * @param {boolean} [isWrite]
 * @returns {string | null}
 */
export function denied(access, anyOf, isWrite = false) {
  if (isWrite && access.readOnly) return "read-only console";
  const isAllowed = anyOf.some((scope) => access.session.scopes.includes(scope));
  return isAllowed ? null : `needs ${anyOf[0]}`;
}
