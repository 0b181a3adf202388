"""Adapts the requests of scripts/schemathesis to rules that an OpenAPI schema cannot express.

The rules concern several values of a request, or the objects of the demo. Every operation is
called, with every check. A value that a schema allows and a rule does not is replaced by a valid
one; the tests in `tests/api` send the values that are replaced.
"""

import itertools
import os
import re
import uuid

import schemathesis

GROUP = "9cf3c0aa-3f80-43f7-b8c2-8f88251ff562"
CODE = "531f65b7-dff7-42b4-b638-597f91da9ccc"
CARRIER = "c0ffee00-0000-4000-8000-000000000001"
OWNER = "b9ba2c8b-2368-4a0b-9ba0-866ff2618417"
# A rented number, its group, and a number in stock.
DID = "7d9a41f2-6c0e-4b57-9a52-1d1c3f0e8b64"
NUMBER = "15162065574"
STOCK = os.environ["DEMO_STOCK_SID"]
# Numbers that are in no stock yet.
NEW_NUMBERS = itertools.count(19145550000)
# The sid of the demo's token.
TOKEN = os.environ["DEMO_TOKEN_SID"]
# A cursor of the feed, for all types of events.
CURSOR = os.environ["DEMO_CURSOR"]
# The fields of all forms.
FIELDS = {
    "access_token_expires_in", "client_id", "client_secret", "grant_type", "name", "password",
    "refresh_token", "scope", "token", "token_type_hint", "username",
}
# The query parameters whose types exclude the empty string.
TYPED = (
    "after", "at", "before", "country_code", "group_by", "limit", "number", "offset", "status",
    "trunk_group_sid", "validate_only", "with_related",
)
SID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def is_sid(value):
    return isinstance(value, str) and SID.fullmatch(value) is not None


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.query, dict):
        adapt_query(case.query, case.path)
        if "Last-Event-ID" in (case.headers or {}):
            case.query.pop("types", None)
    if case.method == "POST" and case.path.endswith("/phonenumber/dids"):
        query = case.query if isinstance(case.query, dict) else {}
        case.query = {"validate_only": "true", **query}
    # A partner has a limited number of endpoints.
    if case.method == "POST" and case.path.endswith("/events/endpoints"):
        query = case.query if isinstance(case.query, dict) else {}
        case.query = {"validate_only": "true", **query}
    if case.headers and case.meta is not None and case.meta.generation.mode.is_positive:
        adapt_headers(case.headers, case.path)
    if isinstance(case.body, dict):
        if "/oauth/" in case.path and case.method == "POST":
            adapt_form(case.body, case.path)
        else:
            adapt_body(case.body, case.method, case.path)
            # A partner cannot change its own scopes and status.
            if CARRIER in (case.path_parameters or {}).values():
                case.body.pop("available_scopes", None)
                case.body.pop("status", None)
    # Without a body, this operation revokes the token of the run.
    if case.path.endswith("/oauth/revoke") and not isinstance(case.body, dict):
        case.body = {"token": str(uuid.uuid4())}
        case.media_type = "application/x-www-form-urlencoded"
    # Other requests refer to these objects.
    if case.method == "DELETE":
        for name, sid in case.path_parameters.items():
            if sid in (GROUP, CODE, DID, STOCK):
                case.path_parameters[name] = str(uuid.uuid4())


def adapt_headers(headers, path):
    if "Last-Event-ID" in headers:
        headers["Last-Event-ID"] = CURSOR
    # An object that was deleted does not have a version, and can be reverted.
    if path.endswith("/revert"):
        headers.pop("If-Match", None)
    # Conditions that hold, and a key that no other request has.
    key = str(uuid.uuid4())
    for name, value in (("If-Match", "*"), ("If-None-Match", '"0"'), ("Idempotency-Key", key)):
        if name in headers:
            headers[name] = value


def adapt_events(arguments):
    """The arguments of the feed: a cursor of its own, and no waits."""
    if arguments.get("wait") not in (None, ""):
        arguments["wait"] = 0 if str(arguments["wait"]).isdecimal() else "nothing"
    if isinstance(arguments.get("after"), str):
        arguments["after"] = CURSOR
        arguments.pop("snapshot", None)
        arguments.pop("types", None)
    elif isinstance(arguments.get("types"), str) and arguments["types"]:
        arguments["types"] = "short_code.updated,did.created"


def adapt_query(arguments, path):
    if path.endswith("/events"):
        adapt_events(arguments)
    # An empty argument counts as absent, although its type does not allow it.
    for name in TYPED:
        if arguments.get(name) in ("", {}, []):
            arguments[name] = "nothing"
    # These have languages of their own; the generated value becomes a part of a valid one.
    if isinstance(arguments.get("filter"), str):
        text = arguments["filter"].replace("\\", "").replace('"', "").replace("\0", "")
        arguments["filter"] = f'{text_member(path)} ne "{text[:1000]}"'
    if isinstance(arguments.get("order"), str):
        arguments["order"] = f"{text_member(path)} desc"
    for name in ("include_fields", "exclude_fields"):
        if isinstance(arguments.get(name), str):
            arguments[name] = next(
                (names for part, names in SELECTED.items() if part in path), "name,partner_sid")
    # A number that exists.
    if isinstance(arguments.get("number"), str) and arguments["number"]:
        short = "country_code" in arguments
        arguments["number"] = "26399" if short else NUMBER
        if re.fullmatch("[A-Z]{3}", str(arguments.get("country_code"))):
            arguments["country_code"] = "USA"
    # A list of deleted objects has one order and no filter, and starts at a deleted object.
    if str(arguments.get("deleted")).lower() == "true":
        for excluded in ("after", "before", "filter", "order", "trunk_group_sid"):
            arguments.pop(excluded, None)
    # A page starts at an existing object, and only in the default order.
    for name, other in (("after", "before"), ("before", "after")):
        if path.endswith("/events/endpoints"):
            # The demo has none.
            arguments.pop(name, None)
        elif is_sid(arguments.get(name)):
            arguments[name] = existing(path)
            for excluded in (other, "offset", "order"):
                arguments.pop(excluded, None)


# The members to select, by a part of the path.
SELECTED = {
    "/history": "version,changes", "/coverage": "count,key", "/available_dids": "phonenumber,state",
    "/inventory": "phonenumber,state", "/deliveries": "attempts,status",
    "/events/endpoints": "url,partner_sid",
}


def text_member(path):
    """The name of a member of the objects in a list, with text."""
    if path.endswith("/events/endpoints"):
        return "url"
    in_stock = path.endswith(("/available_dids", "/inventory"))
    return "phonenumber" if in_stock else "name"


def existing(path):
    """The sid of an object in a list."""
    sids = {"/available_dids": STOCK, "/inventory": STOCK, "/dids": DID, "/did_groups": GROUP, "/short_codes": CODE, "/partners": CARRIER, "/tokens": TOKEN}
    return next(sid for end, sid in sids.items() if path.endswith(end))


def adapt_form(form, path):
    # The schema does not list the scopes. An empty field counts as absent.
    if "scope" in form:
        form["scope"] = "phonenumber.read phonenumber.update"
    # Unknown fields are ignored. A list or an object would repeat a field, which is an error.
    for name in form.keys() - FIELDS:
        value = form.pop(name)
        if not isinstance(value, (dict, list)):
            form[plain(name)] = plain(value)
    if path.endswith("/revoke"):
        form["token"] = str(uuid.uuid4())
    elif form.get("grant_type") == "password":
        form["username"] = form["password"] = "nobody"
    elif form.get("grant_type") == "refresh_token":
        form["refresh_token"] = str(uuid.uuid4())


def adapt_number(body, method, path):
    # Renting needs a number that is available, and there are few: a dry run takes none.
    if method == "POST" and path.endswith("/dids"):
        body.pop("phonenumber", None)
    # A new number, in a stock of the caller's.
    if method == "POST" and path.endswith("/available_dids"):
        if isinstance(body.get("phonenumber"), str):
            body["phonenumber"] = str(next(NEW_NUMBERS))
        if is_sid(body.get("stock_partner_sid")):
            body["stock_partner_sid"] = CARRIER


def adapt_endpoint(body, path):
    # Secrets have a form of their own, and the end of a range is behind its beginning.
    if isinstance(body.get("secret"), str):
        body["secret"] = None
    if path.endswith("/replay") and {"after", "before"} <= body.keys():
        body.pop("before")


def adapt_body(body, method, path):
    adapt_number(body, method, path)
    if "/events/endpoints" in path:
        adapt_endpoint(body, path)
    # Referenced objects must exist, and belong to the owner.
    if is_sid(body.get("did_group_sid")):
        # The renter of a number may own no group.
        body["did_group_sid"] = None if "/dids" in path else GROUP
    if is_sid(body.get("partner_sid")):
        body["partner_sid"] = OWNER
    if is_sid(body.get("parent_sid")):
        body["parent_sid"] = CARRIER
    # Only an existing version can be restored.
    version = body.get("version")
    if type(version) in (int, float) and version >= 1 and version == int(version):
        body["version"] = 1
    # A partner cannot grant a scope that it does not have.
    scopes = body.get("available_scopes")
    if isinstance(scopes, list) and all(isinstance(n, str) and "." in n for n in scopes):
        body["available_scopes"] = ["phonenumber.manage"]
    # The patterns of these members exclude U+0000. Other members do not have a pattern.
    patterned = {"callback_url", "name", "string_key_1", "string_key_2"}
    if method == "POST":
        patterned |= {"phonenumber", "short_code"}
    # A rental ignores these members.
    if method == "POST" and not path.endswith("/dids"):
        patterned |= {"country_code", "lata", "locality", "ocn", "porting_pin", "price", "state"}
    for name in body.keys() - patterned:
        body[name] = plain(body[name])


def plain(value):
    """A value without U+0000, which PostgreSQL cannot store, and without very long numbers."""
    match value:
        case str():
            return value.replace("\0", "")
        case dict():
            return {plain(key): plain(inner) for key, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case bool() | None:
            return value
        case int() | float():
            return value if value == 0 or 1e-12 < abs(value) < 1e12 else 1
        case _:
            return value
