/**
 * The session: the token, its partner and scopes. The token is in a variable of this module only.
 * It is forgotten on Lock, after 15 minutes without input and when the server rejects it.
 */

import { ApiError, send } from "./api.js";

const IDLE_MS = 15 * 60 * 1000;
const CHECK_MS = 5 * 1000;
/** A token that ends within this time is refreshed first. */
const REFRESH_MS = 60 * 1000;
const CLIENT = "console";

/** @type {{token: string, refresh: string | null, ends: number} | null} */
let secrets = null;
let refreshing = null;
let lastInput = 0;
let listener = () => {};

/**
 * @typedef {object} Session
 * @property {any} partner
 * @property {string[]} scopes
 * @property {any} token its description, without the secret
 */

/**
 * Calls back when the session ends, with the reason.
 *
 * @param {(reason: string) => void} onEnd
 */
export function watch(onEnd) {
  listener = onEnd;
  for (const event of ["pointerdown", "keydown", "wheel", "input"]) {
    addEventListener(event, noteInput, { capture: true, passive: true });
  }
  // A timer does not run while the computer sleeps.
  addEventListener("focus", lockIfIdle);
  document.addEventListener("visibilitychange", lockIfIdle);
  setInterval(lockIfIdle, CHECK_MS);
}

function noteInput() {
  lockIfIdle();
  lastInput = Date.now();
}

function lockIfIdle() {
  if (secrets && Date.now() - lastInput >= IDLE_MS) {
    lock("Locked after 15 minutes without input.");
  }
}

/**
 * @param {string} token
 * @returns {Promise<Session>}
 */
export function signInWithToken(token) {
  return open({ token, refresh: null, ends: Infinity });
}

/**
 * @param {string} username
 * @param {string} password
 * @returns {Promise<Session>}
 */
export async function signInWithPassword(username, password) {
  return open(await issued({ grant_type: "password", username, password }));
}

async function open(newSecrets) {
  const request = { path: "oauth/whoami" };
  const { data } = await send(request, newSecrets.token);
  lastInput = Date.now();
  secrets = newSecrets;
  return data;
}

async function issued(grant) {
  const form = { ...grant, client_id: CLIENT };
  const { data } = await send({ method: "POST", path: "oauth/token", form }, null);
  const ends = Date.parse(data.date_expiration_access_token);
  return { token: data.access_token, refresh: data.refresh_token, ends };
}

/**
 * Forgets the token.
 *
 * @param {string} [reason]
 */
export function lock(reason = "") {
  secrets = null;
  refreshing = null;
  listener(reason);
}

/**
 * Sends a request with the token of the session.
 *
 * @param {import("./api.js").Request} request
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./api.js").Answer>}
 */
export async function call(request, signal) {
  await refreshIfNeeded();
  if (!secrets) throw new ApiError(401, "locked");
  const { token } = secrets;
  try {
    return await send(request, token, signal);
  } catch (error) {
    if (error.status === 401 && secrets?.token === token) lock("The token is no longer valid.");
    throw error;
  }
}

async function refreshIfNeeded() {
  if (!secrets?.refresh || secrets.ends - Date.now() > REFRESH_MS) return;
  refreshing ??= refreshed(secrets).finally(() => (refreshing = null));
  await refreshing;
}

async function refreshed(old) {
  const grant = { grant_type: "refresh_token", refresh_token: old.refresh };
  try {
    const renewed = await issued(grant);
    // Unless it was locked meanwhile.
    if (secrets === old) secrets = renewed;
  } catch (error) {
    const isRejected = error.status === 400 || error.status === 401;
    if (isRejected && secrets === old) lock("The session has ended.");
    // After another error, the old token is used until it ends.
    if (secrets !== old || Date.now() >= old.ends) throw error;
  }
}
