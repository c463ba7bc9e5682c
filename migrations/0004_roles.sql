-- Roles that administrators define. The header of 0001 has the rules for these files.

-- A role with a workspace has scope `workspace` and is held in that one only; one without has scope `platform`.
CREATE TABLE dynamic_roles (
    id           BIGSERIAL PRIMARY KEY,
    tenant_id    BIGINT NOT NULL REFERENCES tenants (id),
    workspace_id BIGINT REFERENCES workspaces (id),
    name         TEXT COLLATE "C" NOT NULL,
    name_key     TEXT COLLATE "C" NOT NULL,
    description  TEXT NOT NULL DEFAULT '',
    permissions  JSONB NOT NULL,                      -- a list of names
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    UNIQUE (tenant_id, name_key)
);
CREATE INDEX dynamic_roles_workspace_id ON dynamic_roles (workspace_id);

-- NULL: a built-in role. An assignment means this very role, never another one that has its name later; and a role does not
-- go while somebody holds it.
ALTER TABLE role_assignments ADD COLUMN dynamic_role_id BIGINT REFERENCES dynamic_roles (id);
CREATE INDEX role_assignments_dynamic_role_id ON role_assignments (dynamic_role_id);
