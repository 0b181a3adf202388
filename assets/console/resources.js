/** The kinds of objects: their paths, scopes and members. */

const READ = ["phonenumber.read", "phonenumber.manage"];
const UPDATE = ["phonenumber.update", "phonenumber.manage"];
const CREATE = ["phonenumber.create", "phonenumber.manage"];
const ADMIN_CREATE = ["admin.create", "admin.manage"];
const EVENTS_READ = ["events.read", "events.manage"];
const EVENTS_UPDATE = ["events.update", "events.manage"];

/**
 * @typedef {object} Member
 * @property {string} name as in the API
 * @property {string} label
 * @property {"text" | "url" | "sid" | "number" | "date" | "json" | "list" | "choice"} kind
 * @property {boolean} [edit] the console can change it
 * @property {string} [of] of a sid: the kind of the object
 * @property {unknown[]} [choices]
 * @property {boolean} [required] cannot be null
 *
 * @typedef {object} Resource
 * @property {string} view its name in the fragment of the URL
 * @property {string} title
 * @property {string} one
 * @property {string} path below /core/v2/
 * @property {string} sid the member with the sid
 * @property {string[]} columns shown by default
 * @property {Member[]} members
 * @property {string[]} read any one of these scopes
 * @property {string[]} [update]
 * @property {string[][]} [restore] what restores a deleted object: one scope of each list
 * @property {boolean} [hasHistory]
 * @property {(text: string) => string} [search] the condition for a word
 */

const member = (kind) => (name, label, more) => ({ name, label, kind, ...more });
const [text, url, sid, number, date, json, list, choice] = [
  ...["text", "url", "sid", "number", "date", "json", "list", "choice"],
].map(member);
const edit = { edit: true };
const named = text("name", "Name", { edit: true, required: true });
const callbackUrl = url("callback_url", "Callback URL", edit);
const attributes = json("attributes", "Attributes", { edit: true, required: true });
const group = sid("did_group_sid", "DID group", { edit: true, of: "did_groups" });
const partner = sid("partner_sid", "Partner", { of: "partners" });
const keys = [
  text("string_key_1", "String key 1", edit),
  text("string_key_2", "String key 2", edit),
];
const place = [
  text("country_code", "Country"),
  text("state", "State"),
  text("locality", "Locality"),
  text("lrn_sid", "LRN"),
];
const yesOrNo = { choices: [true, false], edit: true, required: true };

/** @type {Record<string, Resource>} */
export const RESOURCES = {
  short_codes: {
    title: "Short codes",
    one: "short code",
    path: "phonenumber/short_codes",
    sid: "short_code_sid",
    columns: ["short_code", "name", "callback_url", "state", "partner_sid"],
    members: [
      text("short_code", "Short code"),
      named,
      callbackUrl,
      group,
      ...keys,
      attributes,
      ...place,
      partner,
      sid("short_code_sid", "Sid"),
    ],
    read: READ,
    update: UPDATE,
    restore: [UPDATE, ADMIN_CREATE],
    hasHistory: true,
    search: (word) => byDigits("short_code", word),
  },
  dids: {
    title: "DIDs",
    one: "DID",
    path: "phonenumber/dids",
    sid: "did_sid",
    columns: ["phonenumber", "name", "callback_url", "state", "partner_sid"],
    members: [
      text("phonenumber", "Number"),
      named,
      callbackUrl,
      group,
      ...keys,
      attributes,
      json("transformations", "Transformations", { edit: true, required: true }),
      sid("trunk_group_sid", "Trunk group", edit),
      text("international_format", "International format"),
      text("in_country_format", "National format"),
      text("status", "Status"),
      ...place,
      text("lata", "LATA"),
      text("ocn", "OCN"),
      text("price", "Price"),
      number("capabilities", "Capabilities"),
      number("active_capabilities", "Active capabilities"),
      sid("campaign_sid", "Campaign"),
      sid("classification_sid", "Classification"),
      text("porting_pin", "Porting PIN"),
      partner,
      sid("did_sid", "Sid"),
    ],
    read: READ,
    update: UPDATE,
    restore: [UPDATE, CREATE],
    hasHistory: true,
    search: (word) => byDigits("phonenumber", word),
  },
  did_groups: {
    title: "DID groups",
    one: "DID group",
    path: "phonenumber/did_groups",
    sid: "did_group_sid",
    columns: ["name", "callback_url", "partner_sid", "did_group_sid"],
    members: [named, callbackUrl, partner, sid("did_group_sid", "Sid")],
    read: READ,
    update: UPDATE,
    restore: [UPDATE, CREATE],
    hasHistory: true,
    search: byName,
  },
  partners: {
    title: "Partners",
    one: "partner",
    path: "partners",
    sid: "partner_sid",
    columns: ["name", "display_id", "status", "company_name", "date_created"],
    members: [
      named,
      text("display_id", "Display ID"),
      text("company_name", "Company", edit),
      text("country_code", "Country", edit),
      choice("status", "Status", { choices: ["active", "suspended"], edit: true, required: true }),
      json("callbacks", "Callbacks", { edit: true, required: true }),
      attributes,
      list("available_scopes", "Available scopes", { edit: true, required: true }),
      text("login", "Login"),
      sid("parent_sid", "Parent", { of: "partners" }),
      date("date_created", "Created"),
      sid("partner_sid", "Sid"),
    ],
    read: ["partners.read", "partners.manage"],
    update: ["partners.update", "partners.manage"],
    search: byName,
  },
  tokens: {
    title: "Tokens",
    one: "token",
    path: "oauth/tokens",
    sid: "token_sid",
    columns: [
      "token_sid",
      "name",
      "partner_sid",
      "date_last_accessed",
      "date_expiration_access_token",
    ],
    members: [
      text("name", "Name"),
      partner,
      list("scopes", "Scopes"),
      text("client_id", "Client"),
      text("token_type", "Type"),
      date("date_created", "Created"),
      date("date_expiration_access_token", "Ends"),
      date("date_expiration_refresh_token", "Refresh token ends"),
      date("date_last_accessed", "Last used"),
      text("ip_last_accessed", "Last used from"),
      sid("token_sid", "Sid"),
    ],
    read: ["oauth.read", "oauth.manage", "oauth.manage_all_tokens"],
    search: byName,
  },
  endpoints: {
    title: "Webhook endpoints",
    one: "webhook endpoint",
    path: "events/endpoints",
    sid: "endpoint_sid",
    columns: ["url", "enabled", "ordering", "disabled_reason", "date_created"],
    members: [
      url("url", "URL", { edit: true, required: true }),
      choice("enabled", "Enabled", yesOrNo),
      text("disabled_reason", "Disabled because"),
      choice("ordering", "Ordering", {
        choices: ["object", "strict", "none"],
        edit: true,
        required: true,
      }),
      choice("descendants", "Descendants", yesOrNo),
      list("types", "Types", { edit: true, required: true }),
      text("public_key", "Public key"),
      date("date_created", "Created"),
      date("date_secret_changed", "Secret changed"),
      date("date_old_secret_expires", "Old secret ends"),
      partner,
      sid("endpoint_sid", "Sid"),
    ],
    read: EVENTS_READ,
    update: EVENTS_UPDATE,
    hasHistory: true,
    search: (word) => `url ilike ${filterText(`%${word}%`)}`,
  },
};

for (const [view, resource] of Object.entries(RESOURCES)) resource.view = view;

/** The scopes that read events; the API also needs one that reads the objects. */
export const READ_EVENTS = EVENTS_READ;
/** The scopes that test an endpoint and replay events to it. */
export const UPDATE_ENDPOINTS = EVENTS_UPDATE;
/** The scopes of `/phonenumber/resolve`. */
export const READ_NUMBERS = READ;

function byDigits(name, word) {
  return /^\d+$/.test(word) ? `${name} like ${filterText(`${word}%`)}` : byName(word);
}

function byName(word) {
  return `name ilike ${filterText(`%${word}%`)}`;
}

/**
 * A text as a value of a filter.
 *
 * @param {string} text
 * @returns {string}
 */
export function filterText(text) {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/**
 * The filter for what somebody typed: a word, or a text in quotes, searches; anything else is a
 * filter as it is.
 *
 * @param {Resource} resource
 * @param {string} typed
 * @returns {string}
 */
export function filterOf(resource, typed) {
  const text = typed.trim();
  const inQuotes = text.match(/^"([^"]+)"$/);
  if (!text || (!inQuotes && /\s/.test(text))) return text;
  const word = inQuotes ? inQuotes[1] : text;
  return isSid(word) ? `${resource.sid} eq ${word}` : resource.search(word);
}

/**
 * @param {string} text
 * @returns {boolean}
 */
export function isSid(text) {
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text);
}

/**
 * The name that a person would give the object.
 *
 * @param {Resource} resource
 * @param {any} object
 * @returns {string}
 */
export function labelOf(resource, object) {
  return object[resource.members[0].name] || object[resource.sid];
}
