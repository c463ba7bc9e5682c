-- Wrong sign-ins, and the places from which accounts signed in: src/server/access/throttle/ says how they are counted.
--
-- Accounts and places are keyed hashes: the table tells neither who has an account nor from where somebody signs in, and a
-- password typed into the field of the user name is not in it. No foreign key: names of no account are counted as well.

CREATE TABLE sign_in_tries (
    account  TEXT NOT NULL,          -- of the folded user name
    place    TEXT NOT NULL,          -- of an address, a device or a session; '' stands for all unknown places together
    wrong    BIGINT NOT NULL,        -- tries since the last success or quiet hour, those under way included
    last_at  TIMESTAMPTZ NOT NULL,   -- the latest try
    opens_at TIMESTAMPTZ NOT NULL,   -- the next try is not before
    known_at TIMESTAMPTZ,            -- the latest success from here
    PRIMARY KEY (account, place)
);
CREATE INDEX sign_in_tries_last_at ON sign_in_tries (last_at);
