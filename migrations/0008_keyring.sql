-- The keys of the keyring that this database is used with: the public side, by which a server knows the right file. Takes the
-- place of one fingerprint over all keys, which no keyring could grow out of.

DROP TABLE installation;

CREATE TABLE keyring_keys (
    id           TEXT COLLATE "C" PRIMARY KEY,
    purpose      TEXT COLLATE "C" NOT NULL,
    fingerprint  TEXT NOT NULL,                       -- only who holds the key can make it
    activated_at TIMESTAMPTZ NOT NULL,
    retired_at   TIMESTAMPTZ                          -- NULL: new tokens and sealed values are made with this key
);
CREATE UNIQUE INDEX keyring_keys_purpose_key ON keyring_keys (purpose) WHERE retired_at IS NULL;
