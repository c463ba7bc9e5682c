-- Reading the audit trail: each filter finds the entries of a tenant in the order of their ids, newest or oldest first,
-- without touching others. What is about no workspace, workbench, user or actor takes no room in their indexes.

DROP INDEX audit_log_workspace_id;
DROP INDEX audit_log_workbench_id;
DROP INDEX audit_log_user_id;
DROP INDEX audit_log_actor_id;

-- with the time, so that looking for a time span in the order of the ids reads this index and not the rows
CREATE INDEX audit_log_tenant_id ON audit_log (tenant_id, id, created_at);
CREATE INDEX audit_log_action ON audit_log (tenant_id, action, id);
CREATE INDEX audit_log_outcome ON audit_log (tenant_id, outcome, id);
CREATE INDEX audit_log_actor_username ON audit_log (tenant_id, actor_username, id);
CREATE INDEX audit_log_actor_id ON audit_log (tenant_id, actor_id, id) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_log_workspace_id ON audit_log (tenant_id, workspace_id, id) WHERE workspace_id IS NOT NULL;
CREATE INDEX audit_log_workbench_id ON audit_log (tenant_id, workbench_id, id) WHERE workbench_id IS NOT NULL;
CREATE INDEX audit_log_user_id ON audit_log (tenant_id, user_id, id) WHERE user_id IS NOT NULL;
