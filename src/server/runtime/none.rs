//! No runtime: workspaces and workbenches are managed, and no desktop starts.

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};

use super::{
    Event, NO_RUNTIME, Observation, Removal, Result, Runtime, RuntimeError, Stream, WorkbenchRef, WorkbenchSpec,
    WorkspaceSpec,
};

/// It takes no orders, and has nothing to remove.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Runtime for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }

    fn apply_workspace<'a>(&'a self, _: &'a WorkspaceSpec) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn delete_workspace(&self, _: i64) -> BoxFuture<'_, Result<Removal>> {
        async { Ok(Removal::Gone) }.boxed()
    }

    fn apply<'a>(&'a self, _: &'a WorkbenchSpec) -> BoxFuture<'a, Result<()>> {
        async { Err(no_runtime()) }.boxed()
    }

    fn stop(&self, _: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        async { Ok(Removal::Gone) }.boxed()
    }

    fn delete(&self, _: WorkbenchRef) -> BoxFuture<'_, Result<Removal>> {
        async { Ok(Removal::Gone) }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>>> {
        // an empty list would say that every desktop is missing
        async { Err(no_runtime()) }.boxed()
    }

    fn observe(&self) -> BoxStream<'static, Event> {
        futures_util::stream::pending().boxed()
    }

    fn connect(&self, _: WorkbenchRef) -> BoxFuture<'_, Result<Box<dyn Stream>>> {
        async { Err(no_runtime()) }.boxed()
    }

    fn logs(&self, _: WorkbenchRef, _: i64, _: usize) -> BoxFuture<'_, Result<String>> {
        async { Ok(String::new()) }.boxed()
    }
}

fn no_runtime() -> RuntimeError {
    let text = "This server runs no desktops (runtime: none). An administrator can start it with --runtime local.";
    RuntimeError::lasting(NO_RUNTIME, text)
}
