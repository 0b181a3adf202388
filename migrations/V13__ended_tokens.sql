-- Tokens that have ended are deleted, once nothing depends on their rows.

alter table oauth_tokens
    -- How long the row is needed even if the token is revoked: a JWT would be valid without it
    -- until its own expiry, and a used refresh token is recognised by it. Null if a release that
    -- did not store the date has issued the token.
    add column retained_until timestamptz;
