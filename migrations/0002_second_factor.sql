-- One-time codes: a secret per user, sealed with the keyring, and the recovery codes that stand in for it.
-- Whether a user is asked for a code is users.totp_enabled; a secret without it waits for its first code.

CREATE TABLE totp_secrets (
    user_id    BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret     TEXT NOT NULL,                         -- sealed: src/server/access/seal.rs
    last_step  BIGINT NOT NULL DEFAULT 0,             -- of the last code that was accepted; only later ones are
    created_at TIMESTAMPTZ NOT NULL
);

-- A code is used up by deleting its row.
CREATE TABLE recovery_codes (
    user_id    BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash       TEXT COLLATE "C" NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, hash)
);
