-- Ways into a desktop for browsers that hold no session cookie: a ticket, good for one use, and the cookie that it is
-- exchanged for. Only the SHA-256 of a secret is stored; it has 256 random bits, so that nobody guesses one from the other.
--
-- Neither gives more than its maker has: each use asks anew whether the session or API token is alive and may stream.

CREATE TABLE stream_passes (
    id           BIGSERIAL PRIMARY KEY,
    secret_hash  BYTEA NOT NULL,
    kind         TEXT COLLATE "C" NOT NULL CHECK (kind IN ('ticket', 'cookie')),
    workbench_id BIGINT NOT NULL REFERENCES workbenches (id),
    session_id   TEXT REFERENCES sessions (id) ON DELETE CASCADE,                        -- whoever made it: one of the two
    api_token    TEXT COLLATE "C" REFERENCES api_tokens (public_id) ON DELETE CASCADE,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL,
    CHECK ((session_id IS NULL) <> (api_token IS NULL))
);
CREATE UNIQUE INDEX stream_passes_secret_hash_key ON stream_passes (secret_hash);
CREATE INDEX stream_passes_workbench_id ON stream_passes (workbench_id);
CREATE INDEX stream_passes_session_id ON stream_passes (session_id);
CREATE INDEX stream_passes_api_token ON stream_passes (api_token);
CREATE INDEX stream_passes_expires_at ON stream_passes (expires_at);
