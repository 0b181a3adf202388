"""Uses the generated Python client in 25 steps, against two instances of Shortline on one database.

    python steps.py FIRST_URL SECOND_URL CLIENT_FILE

The steps write on the first instance and read on the second. CLIENT_FILE holds the output of
`shortline client create --json`. The file is also an example: each step shows how the client does
one thing. `scripts/generated-clients-test` runs it.
"""

import contextlib
import json
import sys
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

from shortline_client import AuthenticatedClient
from shortline_client.api.did_groups import (
    delete_did_group,
    get_did_group,
    list_did_groups,
    patch_did_group,
    post_did_group,
    put_did_group,
)
from shortline_client.api.o_auth import (
    get_whoami,
    post_revoke,
    post_sub_partner_token,
    post_token,
)
from shortline_client.api.partners import get_partner, list_partners, patch_partner, post_partner
from shortline_client.api.short_codes import (
    delete_short_code,
    get_short_code,
    get_short_code_history,
    list_short_codes,
    patch_short_code,
    post_short_code,
    post_short_code_revert,
    put_short_code,
)
from shortline_client.models import (
    Attributes,
    DidGroup,
    DidGroupList,
    DidGroupPatch,
    DidGroupReplacement,
    ErrorBody,
    HistoryEntry,
    HistoryEntryList,
    NewDidGroup,
    NewPartner,
    NewShortCode,
    OauthToken,
    Partner,
    PartnerList,
    PartnerPatch,
    RevertRequest,
    RevocationForm,
    ShortCode,
    ShortCodeList,
    ShortCodePatch,
    ShortCodeReplacement,
    ShortCodeWithPartner,
    SubPartnerTokenForm,
    TokenForm,
    Whoami,
)
from shortline_client.types import Response, Unset

T = TypeVar("T")
numbers = count(1)


@contextlib.contextmanager
def step(sentence: str) -> Iterator[None]:
    """Prints the line of a step once it has succeeded."""
    number = next(numbers)
    try:
        yield
    except BaseException:
        print(f"FAILED {number:2} {sentence}", flush=True)
        raise
    print(f"ok     {number:2} {sentence}", flush=True)


def expect(kind: type[T], response: Response[Any], status: int = 200) -> T:
    """Returns the parsed body of a response, which must have that type and status."""
    assert response.status_code == status, f"{response.status_code}: {response.content!r}"
    assert isinstance(response.parsed, kind), f"{response.parsed!r} is no {kind.__name__}"
    return response.parsed


def present(value: T | Unset) -> T:
    """Returns a member that can be absent, and is not."""
    assert not isinstance(value, Unset)
    return value


def basic(url: str, client_id: str, client_secret: str) -> AuthenticatedClient:
    """Returns a client that authenticates by HTTP Basic, for `/oauth/token`."""
    credentials = b64encode(f"{client_id}:{client_secret}".encode()).decode()
    return AuthenticatedClient(url, token=credentials, prefix="Basic")


def authenticate(url: str, client_id: str, client_secret: str) -> str:
    """Returns an access token."""
    form = TokenForm(grant_type="client_credentials")
    with step("The client credentials grant returns a token"):
        oauth = basic(url, client_id, client_secret)
        token = expect(OauthToken, post_token.sync_detailed(client=oauth, body=form))
        assert token.token_type == "bearer"
        assert token.access_token

    with step("A wrong client secret is a typed 401"):
        oauth = basic(url, client_id, "wrong")
        error = expect(ErrorBody, post_token.sync_detailed(client=oauth, body=form), 401)
        assert (error.message, error.error) == ("bad credentials", "invalid_client")
    return token.access_token


def create_and_read(
    first: AuthenticatedClient, second: AuthenticatedClient
) -> tuple[DidGroup, ShortCode]:
    """Creates a DID group and a short code, and reads them."""
    with step("The other instance accepts the token and returns its partner and scopes"):
        whoami = expect(Whoami, get_whoami.sync_detailed(client=second))
        assert {"phonenumber.manage", "admin.manage"} <= set(whoami.scopes)

    with step("A DID group is read where it was not created, with the same ETag"):
        new_group = NewDidGroup(name="Support", callback_url="https://example.com/support")
        created = post_did_group.sync_detailed(client=first, body=new_group)
        group = expect(DidGroup, created)
        read = get_did_group.sync_detailed(group.did_group_sid, client=second)
        assert expect(DidGroup, read) == group
        assert read.headers["ETag"] == created.headers["ETag"]

    with step("If-None-Match with the current ETag is a 304"):
        tag = read.headers["ETag"]
        again = get_did_group.sync_detailed(group.did_group_sid, client=second, if_none_match=tag)
        assert again.status_code == 304
        assert again.content == b""

    with step("A short code is created in the DID group"):
        new_code = NewShortCode(
            partner_sid=whoami.partner.partner_sid,
            short_code="26399",
            state="IL",
            name="Alerts",
            did_group_sid=group.did_group_sid,
            attributes=Attributes.from_dict({"tier": "gold", "limits": {"day": 100, "hour": 10}}),
        )
        code = expect(ShortCode, post_short_code.sync_detailed(client=first, body=new_code))
        assert (code.country_code, code.did_group_sid) == ("USA", group.did_group_sid)

    with step("with_related adds the owner"):
        read_code = get_short_code.sync_detailed(
            code.short_code_sid, client=second, with_related=True
        )
        assert expect(ShortCodeWithPartner, read_code).partner.partner_sid == code.partner_sid
    return group, code


def list_and_select(
    first: AuthenticatedClient, second: AuthenticatedClient, code: ShortCode
) -> None:
    """Reads lists and parts of objects."""
    with step("A list is filtered and ordered"):
        filtered = list_short_codes.sync_detailed(
            client=second,
            filter_="state eq 'IL' and attributes.tier eq 'gold'",
            order="short_code desc, name",
        )
        found = expect(ShortCodeList, filtered)
        assert [item.short_code for item in found.items] == ["26399"]
        assert (found.count, found.total, found.has_more) == (1, 1, False)

    with step("Keyset paging returns every DID group once"):
        names = [f"page {number}" for number in range(1, 6)]
        for name in names:
            new_group = NewDidGroup(name=name)
            expect(DidGroup, post_did_group.sync_detailed(client=first, body=new_group))
        collected: list[str] = []
        after: uuid.UUID | Unset = Unset()
        has_more = True
        while has_more:
            page = expect(
                DidGroupList,
                list_did_groups.sync_detailed(
                    client=second, filter_="name like 'page %'", limit=2, after=after
                ),
            )
            collected += [present(item.name) for item in page.items]
            after = page.items[-1].did_group_sid
            has_more = page.has_more
        assert collected == names

    with step("include_fields returns these members only"):
        response = get_short_code.sync_detailed(
            code.short_code_sid, client=second, include_fields="name,attributes.limits.day"
        )
        assert response.parsed is not None
        assert json.loads(response.content) == {
            "attributes": {"limits": {"day": 100}},
            "name": "Alerts",
        }


def update(
    first: AuthenticatedClient, second: AuthenticatedClient, group: DidGroup, code: ShortCode
) -> None:
    """Updates both objects, with the means against lost updates and repeated writes."""
    with step("PATCH changes what is sent, merges attributes and clears by null"):
        sent = DidGroupPatch(callback_url=None)
        patched = patch_did_group.sync_detailed(group.did_group_sid, client=first, body=sent)
        assert expect(DidGroup, patched).callback_url is None
        attributes = Attributes.from_dict({"limits": {"day": 200, "hour": None}})
        change = ShortCodePatch(attributes=attributes, string_key_1="billing")
        expect(
            ShortCode,
            patch_short_code.sync_detailed(code.short_code_sid, client=first, body=change),
        )
        read = expect(ShortCode, get_short_code.sync_detailed(code.short_code_sid, client=second))
        assert read.attributes.to_dict() == {"tier": "gold", "limits": {"day": 200}}
        assert (read.name, read.string_key_1) == ("Alerts", "billing")

    with step("If-Match accepts the current ETag and rejects a stale one with 412"):
        tag = get_short_code.sync_detailed(code.short_code_sid, client=second).headers["ETag"]
        renamed = patch_short_code.sync_detailed(
            code.short_code_sid, client=first, body=ShortCodePatch(name="Mine"), if_match=tag
        )
        assert expect(ShortCode, renamed).name == "Mine"
        assert renamed.headers["ETag"] != tag
        stale = patch_short_code.sync_detailed(
            code.short_code_sid, client=second, body=ShortCodePatch(name="Theirs"), if_match=tag
        )
        assert expect(ErrorBody, stale, 412).message == "precondition failed"
        read = expect(ShortCode, get_short_code.sync_detailed(code.short_code_sid, client=second))
        assert read.name == "Mine"

    with step("PUT replaces the whole object"):
        whole_group = DidGroupReplacement(name="Sales", callback_url="https://example.com/sales")
        replaced = put_did_group.sync_detailed(group.did_group_sid, client=first, body=whole_group)
        assert expect(DidGroup, replaced).name == "Sales"
        whole_code = ShortCodeReplacement(
            attributes=Attributes.from_dict({"tier": "silver"}),
            callback_url="https://example.com/alerts",
            did_group_sid=code.did_group_sid,
            name="Replaced",
            string_key_1=None,
            string_key_2=None,
        )
        expect(
            ShortCode,
            put_short_code.sync_detailed(code.short_code_sid, client=first, body=whole_code),
        )
        read = expect(ShortCode, get_short_code.sync_detailed(code.short_code_sid, client=second))
        assert read.attributes.to_dict() == {"tier": "silver"}
        assert (read.name, read.string_key_1) == ("Replaced", None)

    with step("A retry with the same Idempotency-Key is replayed by the other instance"):
        key = str(uuid.uuid4())
        once = NewDidGroup(name="once")
        created = post_did_group.sync_detailed(client=first, body=once, idempotency_key=key)
        retried = post_did_group.sync_detailed(client=second, body=once, idempotency_key=key)
        assert expect(DidGroup, retried) == expect(DidGroup, created)
        assert retried.headers["Idempotency-Replayed"] == "true"
        listed = list_did_groups.sync_detailed(client=second, filter_="name eq 'once'")
        assert expect(DidGroupList, listed).total == 1

    with step("Another request with that key is a 422"):
        twice = NewDidGroup(name="twice")
        other = post_did_group.sync_detailed(client=second, body=twice, idempotency_key=key)
        assert expect(ErrorBody, other, 422).message == "object validation error"

    with step("validate_only returns the result and stores nothing"):
        dry = patch_short_code.sync_detailed(
            code.short_code_sid, client=first, body=ShortCodePatch(name="Dry"), validate_only=True
        )
        assert expect(ShortCode, dry).name == "Dry"
        read = expect(ShortCode, get_short_code.sync_detailed(code.short_code_sid, client=second))
        assert read.name == "Replaced"


def handle_errors(
    first: AuthenticatedClient, second: AuthenticatedClient, group: DidGroup, code: ShortCode
) -> None:
    """Sends requests that are rejected, and reads the errors."""
    with step("A 422 names every member that is wrong"):
        wrong = ShortCodePatch(name="", callback_url="ftp://example.com", string_key_2="x" * 256)
        rejected = patch_short_code.sync_detailed(code.short_code_sid, client=first, body=wrong)
        error = expect(ErrorBody, rejected, 422)
        assert error.message == "object validation error"
        assert {entry.field for entry in error.errors} == {"callback_url", "name", "string_key_2"}

    with step("An unknown sid is a 404"):
        unknown = get_did_group.sync_detailed(uuid.uuid4(), client=second)
        assert expect(ErrorBody, unknown, 404).message == "no item error"

    with step("Deleting a DID group in use is a 409 that refers to a short code"):
        in_use = delete_did_group.sync_detailed(group.did_group_sid, client=first)
        conflict = expect(ErrorBody, in_use, 409)
        assert conflict.errors[0].reference_sid == code.short_code_sid


def look_back(first: AuthenticatedClient, second: AuthenticatedClient, code: ShortCode) -> None:
    """Reads the history of the short code and reverts it to its first version."""
    with step("The history lists every change with the values before and after"):
        history = get_short_code_history.sync_detailed(code.short_code_sid, client=second)
        items = expect(HistoryEntryList, history).items
        entries = [entry for entry in items if isinstance(entry, HistoryEntry)]
        assert [entry.action for entry in entries] == ["create", "update", "update", "update"]
        assert [entry.version for entry in entries] == [1, 2, 3, 4]
        name = entries[2].changes["name"]
        assert (name.before, name.after) == ("Alerts", "Mine")

    with step("at returns the object as it was at that time"):
        before_the_change = entries[2].date - timedelta(milliseconds=1)
        past = get_short_code.sync_detailed(
            code.short_code_sid, client=second, at=before_the_change
        )
        assert expect(ShortCode, past).name == "Alerts"

    with step("revert writes an earlier version back as a new one"):
        reverted = post_short_code_revert.sync_detailed(
            code.short_code_sid, client=first, body=RevertRequest(version=1)
        )
        assert expect(ShortCode, reverted) == code
        history = get_short_code_history.sync_detailed(code.short_code_sid, client=second, offset=4)
        entry = expect(HistoryEntryList, history).items[0]
        assert (entry.action, entry.version) == ("revert", 5)


def delete(
    first: AuthenticatedClient, second: AuthenticatedClient, group: DidGroup, code: ShortCode
) -> None:
    """Deletes both objects."""
    with step("A deleted object is a 404 on the other instance"):
        assert delete_short_code.sync_detailed(code.short_code_sid, client=first).status_code == 204
        assert delete_did_group.sync_detailed(group.did_group_sid, client=first).status_code == 204
        gone = get_short_code.sync_detailed(code.short_code_sid, client=second)
        expect(ErrorBody, gone, 404)
        group_gone = get_did_group.sync_detailed(group.did_group_sid, client=second)
        expect(ErrorBody, group_gone, 404)


def delegate(first: AuthenticatedClient, second: AuthenticatedClient, second_url: str) -> None:
    """Creates a sub-partner, with a token of its own."""
    with step("A sub-partner is created, listed and changed, and sees nothing of its parent"):
        reseller = NewPartner(name="Reseller", available_scopes=["phonenumber.manage"])
        partner = expect(Partner, post_partner.sync_detailed(client=first, body=reseller))
        listed = list_partners.sync_detailed(client=second, filter_="name eq 'Reseller'")
        assert expect(PartnerList, listed).items == [partner]
        change = PartnerPatch(company_name="Reseller Ltd", country_code="GBR")
        expect(Partner, patch_partner.sync_detailed(partner.partner_sid, client=first, body=change))
        read = expect(Partner, get_partner.sync_detailed(partner.partner_sid, client=second))
        assert (read.company_name, read.country_code) == ("Reseller Ltd", "GBR")
        form = SubPartnerTokenForm(name="Reseller's token", access_token_expires_in=600)
        token = expect(
            OauthToken,
            post_sub_partner_token.sync_detailed(partner.partner_sid, client=first, body=form),
        )
        assert token.scopes == ["phonenumber.manage"]
        as_reseller = AuthenticatedClient(second_url, token=token.access_token or "")
        seen = list_did_groups.sync_detailed(client=as_reseller)
        assert expect(DidGroupList, seen).total == 0

    with step("A revoked token is rejected by the other instance within 5 seconds"):
        revoked = post_revoke.sync_detailed(
            client=first, body=RevocationForm(token=token.access_token or "")
        )
        assert revoked.status_code == 204
        deadline = time.monotonic() + 5
        response = list_did_groups.sync_detailed(client=as_reseller)
        while response.status_code != 401 and time.monotonic() < deadline:
            time.sleep(0.1)
            response = list_did_groups.sync_detailed(client=as_reseller)
        assert expect(ErrorBody, response, 401).message == "unauthorized"


def main() -> None:
    first_url, second_url, client_file = sys.argv[1:]
    with open(client_file, encoding="utf-8") as file:
        credentials = json.load(file)
    token = authenticate(first_url, credentials["client_id"], credentials["client_secret"])
    first = AuthenticatedClient(first_url, token=token)
    second = AuthenticatedClient(second_url, token=token)
    group, code = create_and_read(first, second)
    list_and_select(first, second, code)
    update(first, second, group, code)
    handle_errors(first, second, group, code)
    look_back(first, second, code)
    delete(first, second, group, code)
    delegate(first, second, second_url)


if __name__ == "__main__":
    main()
