-- Workbenches that are deleted because of their age: their owner is told before.

ALTER TABLE workbenches ADD COLUMN age_warned_at TIMESTAMPTZ;
CREATE INDEX workbenches_created_at ON workbenches (created_at) WHERE deleted_at IS NULL;
