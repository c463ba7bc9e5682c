-- The app catalogue, workbenches and the apps that run in them.
--
-- A row of workspaces, workbenches or app_instances holds what is wanted, which calls change, and what was observed,
-- which the loop that reconciles changes. What always holds:
--   * `generation` rises with every change of what is wanted (of a workbench: also of its app instances);
--   * `due_at` says when the loop looks at the row; NULL: the row is at rest;
--   * a deleted row stays; `removed_at` says since when nothing of it is left in the runtime;
--   * `version` is the value of desktop_version at the last change, so that a reader finds what changed since it looked.

-- Raised in the transaction of every change of workspaces, workbenches and app_instances, last of all: whoever raises it
-- waits for the one before, so versions become visible in their order.
CREATE TABLE desktop_version (
    id      BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
);
INSERT INTO desktop_version (id, version) VALUES (1, 1);

CREATE TABLE apps (
    id                                BIGSERIAL PRIMARY KEY,
    tenant_id                         BIGINT NOT NULL REFERENCES tenants (id),
    user_id                           BIGINT NOT NULL REFERENCES users (id),
    name                              TEXT COLLATE "C" NOT NULL,
    name_key                          TEXT COLLATE "C" NOT NULL,
    description                       TEXT COLLATE "C" NOT NULL DEFAULT '',
    status                            TEXT COLLATE "C" NOT NULL CHECK (status IN ('active', 'inactive', 'deleted')),
    docker_image_registry             TEXT COLLATE "C" NOT NULL DEFAULT '',
    docker_image_name                 TEXT COLLATE "C" NOT NULL,
    docker_image_tag                  TEXT COLLATE "C" NOT NULL,
    shm_size                          TEXT NOT NULL DEFAULT '',
    max_cpu                           TEXT NOT NULL DEFAULT '',
    min_cpu                           TEXT NOT NULL DEFAULT '',
    max_memory                        TEXT NOT NULL DEFAULT '',
    min_memory                        TEXT NOT NULL DEFAULT '',
    max_ephemeral_storage             TEXT NOT NULL DEFAULT '',
    min_ephemeral_storage             TEXT NOT NULL DEFAULT '',
    browser_config_url                TEXT NOT NULL DEFAULT '',
    browser_config_jwt_url            TEXT NOT NULL DEFAULT '',
    browser_config_jwt_oidc_client_id TEXT NOT NULL DEFAULT '',
    icon_url                          TEXT NOT NULL DEFAULT '',
    icon_background_color             TEXT NOT NULL DEFAULT '',
    stability_status                  TEXT NOT NULL DEFAULT '',
    category                          TEXT COLLATE "C" NOT NULL DEFAULT '',
    created_at                        TIMESTAMPTZ NOT NULL,
    updated_at                        TIMESTAMPTZ NOT NULL,
    deleted_at                        TIMESTAMPTZ
);
CREATE INDEX apps_tenant_id ON apps (tenant_id, id);
CREATE INDEX apps_user_id ON apps (user_id);

CREATE TABLE workbenches (
    id                        BIGSERIAL PRIMARY KEY,
    tenant_id                 BIGINT NOT NULL REFERENCES tenants (id),
    user_id                   BIGINT NOT NULL REFERENCES users (id),        -- the owner
    workspace_id              BIGINT NOT NULL REFERENCES workspaces (id),
    name                      TEXT COLLATE "C" NOT NULL,
    name_key                  TEXT COLLATE "C" NOT NULL,
    short_name                TEXT COLLATE "C" NOT NULL DEFAULT '',
    description               TEXT COLLATE "C" NOT NULL DEFAULT '',
    initial_resolution_width  BIGINT NOT NULL DEFAULT 0,                     -- pixels; 0: the runtime's choice
    initial_resolution_height BIGINT NOT NULL DEFAULT 0,
    -- wanted
    wanted                    TEXT COLLATE "C" NOT NULL DEFAULT 'running' CHECK (wanted IN ('running', 'stopped', 'deleted')),
    stopped_because           TEXT NOT NULL DEFAULT '' CHECK (stopped_because IN ('', 'person', 'idle')),
    generation                BIGINT NOT NULL DEFAULT 1,
    -- observed; the words of the wire
    observed_generation       BIGINT NOT NULL DEFAULT 0,
    server_pod_status         TEXT COLLATE "C" NOT NULL DEFAULT 'Waiting',
    server_pod_message        TEXT NOT NULL DEFAULT '',
    k8s_status                TEXT COLLATE "C" NOT NULL DEFAULT 'Progressing',
    reason                    TEXT COLLATE "C" NOT NULL DEFAULT '',
    -- the loop
    due_at                    TIMESTAMPTZ,
    attempts                  BIGINT NOT NULL DEFAULT 0,                     -- failed in a row
    removed_at                TIMESTAMPTZ,
    version                   BIGINT NOT NULL DEFAULT 0,
    -- use
    active_at                 TIMESTAMPTZ NOT NULL,                          -- last created, started, opened or typed into
    idle_warned_at            TIMESTAMPTZ,
    accessed_at               TIMESTAMPTZ,                                   -- last request to its desktop
    accessed_count            BIGINT NOT NULL DEFAULT 0,
    streamed_bytes            BIGINT NOT NULL DEFAULT 0,                     -- both ways
    created_at                TIMESTAMPTZ NOT NULL,
    updated_at                TIMESTAMPTZ NOT NULL,
    deleted_at                TIMESTAMPTZ
);
CREATE INDEX workbenches_tenant_id ON workbenches (tenant_id, id);
CREATE INDEX workbenches_workspace_id ON workbenches (workspace_id, id);
CREATE INDEX workbenches_user_id ON workbenches (user_id);
CREATE INDEX workbenches_due_at ON workbenches (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX workbenches_version ON workbenches (version);
CREATE INDEX workbenches_active_at ON workbenches (active_at) WHERE wanted = 'running';

CREATE TABLE app_instances (
    id                        BIGSERIAL PRIMARY KEY,
    tenant_id                 BIGINT NOT NULL REFERENCES tenants (id),
    user_id                   BIGINT NOT NULL REFERENCES users (id),         -- who started it
    app_id                    BIGINT NOT NULL REFERENCES apps (id),
    workspace_id              BIGINT NOT NULL REFERENCES workspaces (id),
    workbench_id              BIGINT NOT NULL REFERENCES workbenches (id),
    app                       JSONB NOT NULL DEFAULT '{}',                   -- image, limits, browser: as they were at the start
    initial_resolution_width  BIGINT NOT NULL DEFAULT 0,
    initial_resolution_height BIGINT NOT NULL DEFAULT 0,
    -- wanted; the words of the wire
    k8s_state                 TEXT COLLATE "C" NOT NULL DEFAULT 'Running' CHECK (k8s_state IN ('Running', 'Stopped', 'Killed')),
    incarnation               BIGINT NOT NULL DEFAULT 1,                     -- how often it was started
    started_at                TIMESTAMPTZ NOT NULL,                          -- when it was last wanted to start
    -- observed; the words of the wire
    status                    TEXT COLLATE "C" NOT NULL DEFAULT 'unknown' CHECK (status IN ('active', 'inactive', 'deleted', 'unknown')),
    k8s_status                TEXT COLLATE "C" NOT NULL DEFAULT 'Unknown',
    k8s_message               TEXT NOT NULL DEFAULT '',
    version                   BIGINT NOT NULL DEFAULT 0,
    created_at                TIMESTAMPTZ NOT NULL,
    updated_at                TIMESTAMPTZ NOT NULL,
    deleted_at                TIMESTAMPTZ
);
CREATE INDEX app_instances_tenant_id ON app_instances (tenant_id, id);
CREATE INDEX app_instances_workbench_id ON app_instances (workbench_id, id);
CREATE INDEX app_instances_workspace_id ON app_instances (workspace_id);
CREATE INDEX app_instances_app_id ON app_instances (app_id);
CREATE INDEX app_instances_user_id ON app_instances (user_id);
CREATE INDEX app_instances_version ON app_instances (version);

ALTER TABLE workspaces ADD COLUMN generation BIGINT NOT NULL DEFAULT 1;
ALTER TABLE workspaces ADD COLUMN observed_generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN due_at TIMESTAMPTZ;
ALTER TABLE workspaces ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN removed_at TIMESTAMPTZ;
CREATE INDEX workspaces_due_at ON workspaces (due_at) WHERE due_at IS NOT NULL;
