//! The RPCs of health.

use super::{Health, store};
use crate::{
    proto::v1,
    server::{
        COMMIT, VERSION,
        access::catalogue::Permission,
        db::Engine,
        error::Result,
        pipeline::{Authorized, generated::HealthHandlers},
        services::{timestamp, wire_id},
    },
};

impl HealthHandlers for Health {
    async fn get_health_check(&self, _: Authorized, _: v1::GetHealthCheckRequest) -> Result<v1::GetHealthCheckReply> {
        Ok(v1::GetHealthCheckReply {})
    }

    async fn get_server_status(
        &self,
        call: Authorized,
        _: v1::GetServerStatusRequest,
    ) -> Result<v1::GetServerStatusReply> {
        let details = match call.may(Permission::GetHealthCheck, None) {
            true => Some(self.details(&call).await?),
            false => None,
        };
        let database = match self.base.db.engine() {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgresql",
        };
        let status = v1::ServerStatus {
            version: VERSION.to_owned(),
            database: database.to_owned(),
            // the configuration takes no other yet
            runtime: "none".to_owned(),
            commit: COMMIT.unwrap_or_default().to_owned(),
            started_at: Some(timestamp(self.started_at)),
            details,
        };
        Ok(v1::GetServerStatusReply { result: Some(status) })
    }
}

impl Health {
    async fn details(&self, call: &Authorized) -> Result<v1::ServerStatusDetails> {
        let db = &self.base.db;
        let counts = store::counts(db, call).await?;
        Ok(v1::ServerStatusDetails {
            database_version: db.server_version().await?,
            schema_version: wire_id(counts.schema_version),
            uptime_seconds: u64::try_from((call.now() - self.started_at).num_seconds()).unwrap_or_default(),
            open_connections: u32::try_from(db.pool_stats().connections).unwrap_or(u32::MAX),
            users: wire_id(counts.users),
            workspaces: wire_id(counts.workspaces),
        })
    }
}
