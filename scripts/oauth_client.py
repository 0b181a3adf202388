"""The client of scripts/oauth-client-test; runs with the packages that it installs."""

import json
import sys

import requests
from oauthlib.oauth2 import (
    BackendApplicationClient,
    InvalidClientError,
    InvalidGrantError,
    InvalidScopeError,
    LegacyApplicationClient,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

BASE, CLIENT, LOGIN, PASSWORD = sys.argv[1:]
CLIENT = json.loads(CLIENT)
ID, SECRET = CLIENT["client_id"], CLIENT["client_secret"]
TOKEN_URL = f"{BASE}/oauth/token"
BASIC = HTTPBasicAuth(ID, SECRET)


def backend(**options):
    return OAuth2Session(client=BackendApplicationClient(client_id=ID, **options))


def legacy():
    return OAuth2Session(client=LegacyApplicationClient(client_id=ID))


def whoami(session):
    response = session.get(f"{BASE}/oauth/whoami")
    response.raise_for_status()
    return response.json()


def check(sentence, holds):
    if not holds:
        sys.exit(f"FAILED: {sentence}")
    print("ok:", sentence)


def expect(error, request, *arguments, **options):
    """Checks that a request raises the client library's exception for an OAuth error."""
    try:
        request(*arguments, **options)
    except error as caught:
        print(f"ok: {caught.error}")
    else:
        sys.exit(f"FAILED: expected {error.__name__}")


def client_credentials():
    """RFC 6749, section 4.4."""
    session = backend(scope=["phonenumber.manage"])
    session.fetch_token(TOKEN_URL, auth=BASIC)
    check("client_credentials by HTTP Basic", whoami(session)["scopes"] == ["phonenumber.manage"])
    session = backend()
    session.fetch_token(TOKEN_URL, client_id=ID, client_secret=SECRET, include_client_id=True)
    partner = whoami(session)["partner"]["partner_sid"]
    check("client_credentials by form", partner == CLIENT["partner_sid"])


def password():
    """RFC 6749, sections 4.3 and 6. Returns the session."""
    session = legacy()
    session.fetch_token(TOKEN_URL, username=LOGIN, password=PASSWORD, auth=BASIC)
    check("password", whoami(session)["partner"]["login"] == LOGIN)
    old = session.token["refresh_token"]
    session.refresh_token(TOKEN_URL, auth=BASIC)
    whoami(session)
    check("refresh_token", session.token["refresh_token"] != old)
    return session


def revocation(session):
    """RFC 7009."""
    token = session.token["refresh_token"]
    prepare = session._client.prepare_token_revocation_request
    # The library prepares requests for HTTPS only.
    _, headers, body = prepare("https://example.com/", token, token_type_hint="refresh_token")
    response = requests.post(f"{BASE}/oauth/revoke", data=body, headers=headers, auth=BASIC)
    check("revocation", response.status_code == 204)
    expect(InvalidGrantError, session.refresh_token, TOKEN_URL, auth=BASIC)


def errors():
    wrong = HTTPBasicAuth(ID, "wrong")
    expect(InvalidClientError, backend().fetch_token, TOKEN_URL, auth=wrong)
    session = backend(scope=["admin.manage"])
    expect(InvalidScopeError, session.fetch_token, TOKEN_URL, auth=BASIC)
    login = {"username": LOGIN, "password": "wrong"}
    expect(InvalidGrantError, legacy().fetch_token, TOKEN_URL, auth=BASIC, **login)


client_credentials()
revocation(password())
errors()
