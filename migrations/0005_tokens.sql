-- API tokens: what a program shows instead of a session. A token is `chorus_<public_id>_<secret>`; the secret has 256 random
-- bits, so its plain SHA-256 is as hard to guess as itself, and a slow password hash would only cost every call.
--
-- Rows of tokens that ended stay for a while, to tell their owners why a program stopped working.

CREATE TABLE api_tokens (
    id                BIGSERIAL PRIMARY KEY,
    tenant_id         BIGINT NOT NULL REFERENCES tenants (id),
    user_id           BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,  -- for whom it speaks
    name              TEXT COLLATE "C" NOT NULL,
    name_key          TEXT COLLATE "C" NOT NULL,
    public_id         TEXT COLLATE "C" NOT NULL,
    secret_hash       BYTEA NOT NULL,
    scopes            JSONB NOT NULL,                 -- ["getWorkspace@workspace=5", …]
    networks          JSONB NOT NULL DEFAULT '[]',    -- ["192.0.2.0/24", …]; none: from everywhere
    created_by        BIGINT NOT NULL,                -- no foreign key: the token outlives its maker
    created_at        TIMESTAMPTZ NOT NULL,
    expires_at        TIMESTAMPTZ NOT NULL,
    last_used_at      TIMESTAMPTZ,
    last_used_address TEXT NOT NULL DEFAULT '',
    revoked_at        TIMESTAMPTZ
);
CREATE UNIQUE INDEX api_tokens_public_id_key ON api_tokens (public_id);
CREATE INDEX api_tokens_user_id ON api_tokens (user_id, name_key);
CREATE INDEX api_tokens_tenant_id ON api_tokens (tenant_id);
