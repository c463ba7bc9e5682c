-- Sessions that an app instance opened with its token. Such a session ends with the start of the instance that it came from.
ALTER TABLE sessions ADD COLUMN app_instance_id BIGINT REFERENCES app_instances (id);
ALTER TABLE sessions ADD COLUMN app_incarnation BIGINT;
CREATE INDEX sessions_app_instance_id ON sessions (app_instance_id);
