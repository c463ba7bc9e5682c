-- What the first services stand on: tenants, users, roles, sessions, workspaces, notifications, settings, audit.
--
-- Written for PostgreSQL. For SQLite, src/server/db/migrate.rs replaces the few words that differ, so keep to these types:
-- BIGSERIAL PRIMARY KEY, BIGINT, BOOLEAN, TEXT, JSONB, BYTEA, TIMESTAMPTZ.
--   * TIMESTAMPTZ holds UTC and is always bound by the server, never filled by the database clock.
--   * Text that can be sorted is COLLATE "C", which is how SQLite compares anyway: both engines give the same order.
--   * A column `x_key` is column `x` after db::fold (NFKC, lower case): uniqueness and search for every script.
--   * Every foreign key has an index. A unique index is named <table>_<columns>_key: db::DbError reports that name.

CREATE TABLE tenants (
    id         BIGSERIAL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

-- A deleted user stays for the history, renamed to `<name>-<uuid>` so that the name is free again.
CREATE TABLE users (
    id               BIGSERIAL PRIMARY KEY,
    tenant_id        BIGINT NOT NULL REFERENCES tenants (id),
    first_name       TEXT COLLATE "C" NOT NULL DEFAULT '',
    last_name        TEXT COLLATE "C" NOT NULL DEFAULT '',
    username         TEXT COLLATE "C" NOT NULL,
    username_key     TEXT COLLATE "C" NOT NULL,
    source           TEXT COLLATE "C" NOT NULL DEFAULT 'internal' CHECK (source <> ''),
    email            TEXT COLLATE "C" NOT NULL DEFAULT '',
    password_hash    TEXT,                            -- NULL: this user has no password here
    password_changed BOOLEAN NOT NULL DEFAULT FALSE,  -- FALSE: the password is temporary and must be changed
    totp_enabled     BOOLEAN NOT NULL DEFAULT FALSE,
    status           TEXT COLLATE "C" NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled', 'deleted')),
    search_key       TEXT COLLATE "C" NOT NULL,       -- first name, last name and user name, folded
    created_at       TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL,
    deleted_at       TIMESTAMPTZ,
    UNIQUE (username_key, source)                     -- over all tenants: a sign-in names no tenant
);
CREATE INDEX users_tenant_id ON users (tenant_id, id);

-- A role given to a user. Each context column holds a decimal id, '*' for any, or NULL where the role has no such dimension.
CREATE TABLE role_assignments (
    id           BIGSERIAL PRIMARY KEY,
    tenant_id    BIGINT NOT NULL REFERENCES tenants (id),
    user_id      BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role         TEXT COLLATE "C" NOT NULL,
    workspace    TEXT COLLATE "C",
    workbench    TEXT COLLATE "C",
    user_context TEXT COLLATE "C",
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX role_assignments_user_id_role_context_key ON role_assignments
    (user_id, role, coalesce(workspace, ''), coalesce(workbench, ''), coalesce(user_context, ''));
CREATE INDEX role_assignments_workspace ON role_assignments (workspace) WHERE workspace IS NOT NULL;
CREATE INDEX role_assignments_workbench ON role_assignments (workbench) WHERE workbench IS NOT NULL;
CREATE INDEX role_assignments_tenant_id ON role_assignments (tenant_id, role);

-- One row a sign-in. The token names the row, so that ending it ends the token.
CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    user_id      BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant_id    BIGINT NOT NULL REFERENCES tenants (id),
    created_at   TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL,
    user_agent   TEXT NOT NULL DEFAULT '',
    address      TEXT NOT NULL DEFAULT '',
    restricted   BOOLEAN NOT NULL DEFAULT FALSE,      -- may only change the temporary password and sign out
    revoked_at   TIMESTAMPTZ
);
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_tenant_id ON sessions (tenant_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Raised in the transaction of every change of a session, user, role or membership: replicas drop what they cached.
CREATE TABLE access_version (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
);
INSERT INTO access_version (id, version) VALUES (1, 1);

CREATE TABLE workspaces (
    id                     BIGSERIAL PRIMARY KEY,
    tenant_id              BIGINT NOT NULL REFERENCES tenants (id),
    user_id                BIGINT NOT NULL REFERENCES users (id),   -- the owner
    name                   TEXT COLLATE "C" NOT NULL,
    name_key               TEXT COLLATE "C" NOT NULL,
    short_name             TEXT COLLATE "C" NOT NULL DEFAULT '',
    description            TEXT COLLATE "C" NOT NULL DEFAULT '',
    status                 TEXT COLLATE "C" NOT NULL,
    is_main                BOOLEAN NOT NULL DEFAULT FALSE,
    network_policy         TEXT COLLATE "C" NOT NULL DEFAULT 'Airgapped',
    allowed_fqdns          JSONB NOT NULL DEFAULT '[]',
    network_policy_status  TEXT COLLATE "C" NOT NULL DEFAULT '',
    network_policy_message TEXT COLLATE "C" NOT NULL DEFAULT '',
    clipboard              TEXT COLLATE "C" NOT NULL DEFAULT 'disabled',
    visibility             TEXT COLLATE "C" NOT NULL DEFAULT 'private',
    contact_user_id        BIGINT REFERENCES users (id) ON DELETE SET NULL,
    created_at             TIMESTAMPTZ NOT NULL,
    updated_at             TIMESTAMPTZ NOT NULL,
    deleted_at             TIMESTAMPTZ
);
CREATE UNIQUE INDEX workspaces_user_id_key ON workspaces (user_id) WHERE is_main AND deleted_at IS NULL;
CREATE INDEX workspaces_tenant_id ON workspaces (tenant_id, id);
CREATE INDEX workspaces_user_id ON workspaces (user_id);
CREATE INDEX workspaces_contact_user_id ON workspaces (contact_user_id);

-- One row a tenant; none means: all defaults. A limit of 0 is no limit.
CREATE TABLE platform_settings (
    id                         BIGSERIAL PRIMARY KEY,
    tenant_id                  BIGINT NOT NULL UNIQUE REFERENCES tenants (id),
    title                      TEXT NOT NULL DEFAULT '',
    headline                   TEXT NOT NULL DEFAULT '',
    tagline                    TEXT NOT NULL DEFAULT '',
    website_url                TEXT NOT NULL DEFAULT '',
    max_workspaces_per_user    BIGINT NOT NULL DEFAULT 0,
    max_sessions_per_user      BIGINT NOT NULL DEFAULT 0,
    max_app_instances_per_user BIGINT NOT NULL DEFAULT 0,
    created_at                 TIMESTAMPTZ NOT NULL,
    updated_at                 TIMESTAMPTZ NOT NULL
);

-- Keys and values that the web client keeps, per platform (scope_id 0), user or workspace.
CREATE TABLE devstore (
    id         BIGSERIAL PRIMARY KEY,
    tenant_id  BIGINT NOT NULL REFERENCES tenants (id),
    scope      TEXT COLLATE "C" NOT NULL CHECK (scope IN ('global', 'user', 'workspace')),
    scope_id   BIGINT NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    value      TEXT NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    UNIQUE (tenant_id, scope, scope_id, key)
);

-- One row a recipient.
CREATE TABLE notifications (
    id         TEXT COLLATE "C" PRIMARY KEY,
    tenant_id  BIGINT NOT NULL REFERENCES tenants (id),
    user_id    BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    message    TEXT COLLATE "C" NOT NULL,
    content    JSONB NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL,
    read_at    TIMESTAMPTZ
);
CREATE INDEX notifications_user_id ON notifications (user_id, created_at);
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL;
CREATE INDEX notifications_tenant_id ON notifications (tenant_id);

-- Who did what, and how it ended. No foreign keys: a record outlives what it is about.
CREATE TABLE audit_log (
    id             BIGSERIAL PRIMARY KEY,
    tenant_id      BIGINT,
    actor_id       BIGINT,
    actor_username TEXT COLLATE "C" NOT NULL DEFAULT '',
    request_id     TEXT NOT NULL DEFAULT '',
    action         TEXT COLLATE "C" NOT NULL,
    rpc            TEXT COLLATE "C" NOT NULL DEFAULT '',
    outcome        TEXT COLLATE "C" NOT NULL CHECK (outcome IN ('ok', 'refused', 'failed')),
    code           BIGINT NOT NULL DEFAULT 0,         -- the gRPC code
    workspace_id   BIGINT,
    workbench_id   BIGINT,
    user_id        BIGINT,
    address        TEXT NOT NULL DEFAULT '',
    description    TEXT NOT NULL DEFAULT '',
    details        JSONB NOT NULL DEFAULT '{}',
    repeats        BIGINT NOT NULL DEFAULT 1,         -- how many equal calls this record stands for
    created_at     TIMESTAMPTZ NOT NULL
);
CREATE INDEX audit_log_created_at ON audit_log (tenant_id, created_at);
CREATE INDEX audit_log_workspace_id ON audit_log (workspace_id) WHERE workspace_id IS NOT NULL;
CREATE INDEX audit_log_workbench_id ON audit_log (workbench_id) WHERE workbench_id IS NOT NULL;
CREATE INDEX audit_log_user_id ON audit_log (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_log_actor_id ON audit_log (actor_id) WHERE actor_id IS NOT NULL;

-- Which replica does a job at the moment.
CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

-- This installation: the fingerprint of the keyring that sealed its secrets.
CREATE TABLE installation (
    id                  BIGINT PRIMARY KEY CHECK (id = 1),
    keyring_fingerprint TEXT NOT NULL,
    created_at          TIMESTAMPTZ NOT NULL
);
