"""What the contract says and an OpenAPI schema cannot: requests are brought to it before they are sent.

No check is left out and no operation; a value that a schema calls good, and that is good only beside others, is exchanged for one
that is good here. The tests of `tests/api` send the values that are exchanged.
"""

import os
import re
import uuid

import schemathesis

GROUP = "9cf3c0aa-3f80-43f7-b8c2-8f88251ff562"
CODE = "531f65b7-dff7-42b4-b638-597f91da9ccc"
CARRIER = "c0ffee00-0000-4000-8000-000000000001"
OWNER = "b9ba2c8b-2368-4a0b-9ba0-866ff2618417"
# The demo data's token, by its sid.
TOKEN = os.environ["DEMO_TOKEN_SID"]
# The fields of a form.
FIELDS = {"access_token_expires_in", "client_id", "client_secret", "grant_type", "name", "password", "refresh_token", "scope", "token",
          "token_type_hint", "username"}
SID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def is_sid(value):
    return isinstance(value, str) and SID.fullmatch(value) is not None


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.query, dict):
        mend_arguments(case.query, case.path)
    if case.headers and case.meta is not None and case.meta.generation.mode.is_positive:
        mend_headers(case.headers, case.path)
    if isinstance(case.body, dict):
        if "/oauth/" in case.path and case.method == "POST":
            mend_form(case.body, case.path)
        else:
            mend_body(case.body, case.method)
            # A version that is there.
            version = case.body.get("version")
            if isinstance(version, (int, float)) and not isinstance(version, bool) and version >= 1 and version == int(version):
                case.body["version"] = 1
            # Nobody raises himself.
            if CARRIER in (case.path_parameters or {}).values():
                case.body.pop("available_scopes", None)
                case.body.pop("status", None)
    # The token of this run must live on: by default the calling one is revoked.
    if case.path.endswith("/oauth/revoke") and not isinstance(case.body, dict):
        case.body, case.media_type = {"token": str(uuid.uuid4())}, "application/x-www-form-urlencoded"
    # What the other requests refer to stays.
    if case.method == "DELETE":
        for name, sid in case.path_parameters.items():
            if sid in (GROUP, CODE):
                case.path_parameters[name] = str(uuid.uuid4())


def mend_headers(headers, path):
    # What is to come back may be gone, and then has no version.
    if path.endswith("/revert"):
        headers.pop("If-Match", None)
    # Tags of what is there, and a key of no other request.
    for name, value in (("If-Match", "*"), ("If-None-Match", '"0"'), ("Idempotency-Key", str(uuid.uuid4()))):
        if name in headers:
            headers[name] = value


def mend_arguments(arguments, path):
    # An empty argument counts as absent, whatever its type; what is no number, sid or boolean is refused.
    for name in ("after", "at", "before", "limit", "offset", "validate_only", "with_related"):
        if arguments.get(name) == "":
            arguments[name] = "nothing"
    # Languages of their own: what the value is put into is good, the value stays.
    if isinstance(arguments.get("filter"), str):
        text = arguments["filter"].replace("\\", "").replace('"', "").replace("\0", "")
        arguments["filter"] = f'name ne "{text[:1000]}"'
    if isinstance(arguments.get("order"), str):
        arguments["order"] = "name desc"
    for name in ("include_fields", "exclude_fields"):
        if isinstance(arguments.get(name), str):
            arguments[name] = "version,changes" if path.endswith("/history") else "name,partner_sid"
    # A page begins at an object that is there, and then neither at another one nor in another order.
    for name, other in (("after", "before"), ("before", "after")):
        if is_sid(arguments.get(name)):
            arguments[name] = there(path)
            for needless in (other, "offset", "order"):
                arguments.pop(needless, None)


def there(path):
    known = {"/did_groups": GROUP, "/short_codes": CODE, "/partners": CARRIER, "/tokens": TOKEN}
    return next(sid for end, sid in known.items() if path.endswith(end))


def mend_form(form, path):
    # The names of scopes are words of ours; what is empty counts as absent, and then something else is needed.
    if "scope" in form:
        form["scope"] = "phonenumber.read phonenumber.update"
    # Fields that nobody knows are ignored; no field is sent twice, as lists and objects would be.
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


def mend_body(body, method):
    # Another object must be there, and be the owner's.
    if is_sid(body.get("did_group_sid")):
        body["did_group_sid"] = GROUP
    if is_sid(body.get("partner_sid")):
        body["partner_sid"] = OWNER
    if is_sid(body.get("parent_sid")):
        body["parent_sid"] = CARRIER
    # Nobody gives what he does not have.
    if isinstance(body.get("available_scopes"), list) and all(isinstance(name, str) and "." in name for name in body["available_scopes"]):
        body["available_scopes"] = ["phonenumber.manage"]
    # Patterns keep U+0000 out of the members that have one; free-form and read-only members have none.
    patterned = {"callback_url", "name", "string_key_1", "string_key_2"}
    if method == "POST":
        patterned |= {"country_code", "locality", "short_code", "state"}
    for name in body.keys() - patterned:
        body[name] = plain(body[name])


def plain(value):
    """Without U+0000, which PostgreSQL's text does not hold, and without numbers of more than 40 characters."""
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
