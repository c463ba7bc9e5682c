-- What the loop that reconciles knows of a workspace, and the rows that it compares with the runtime every few minutes.

ALTER TABLE workspaces ADD COLUMN runtime_reason TEXT COLLATE "C" NOT NULL DEFAULT '';   -- why it is not ready; empty: it is
ALTER TABLE workspaces ADD COLUMN runtime_message TEXT NOT NULL DEFAULT '';

CREATE INDEX workbenches_removed_at ON workbenches (workspace_id) WHERE removed_at IS NULL;
