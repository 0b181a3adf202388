-- A refresh token that its client uses twice within seconds gets a sibling of its successor, since
-- two tabs of a browser may refresh at once.

alter table oauth_tokens
    -- The first use of the refresh token, by the clock of the database. Null if it was not used, or
    -- if a release that did not store the date has used it.
    add column date_refresh_spent timestamptz,
    -- The token whose refresh token was used to issue this one.
    add column refreshed_from uuid;
