//! Streams that end when the right to them does.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

use super::{Items, Replies, admission::hold, call::Call};
use crate::server::{
    access::caller::Caller,
    error::{Error, Kind, Result},
};

/// How often an open stream asks whether access changed; with the version check behind it (700 ms) the right is lost
/// within a second.
const EVERY: Duration = Duration::from_millis(250);

/// Passes items on until the caller loses the right to them. Where the stream was opened by more than permissions (lists,
/// `custom` rules) any change of the caller's roles ends it.
pub(super) fn guarded<T: Send + 'static>(items: Items<T>, call: Arc<Call>, caller: Arc<Caller>) -> Replies<T> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = Some((items, tick, call, caller));
    Box::pin(futures_util::stream::unfold(state, |state| async move {
        let (mut items, mut tick, call, caller) = state?;
        let failed = |error: Error, call: &Call| Some((Err::<T, Status>(error.into_status(&call.instance)), None));
        loop {
            tokio::select! {
                item = items.next() => return match item {
                    Some(Ok(item)) => Some((Ok(item), Some((items, tick, call, caller)))),
                    Some(Err(error)) => failed(error, &call),
                    None => None,
                },
                _ = tick.tick() => if let Err(error) = still(&call, &caller).await {
                    return failed(error, &call);
                },
            }
        }
    }))
}

async fn still(call: &Call, opened: &Arc<Caller>) -> Result<()> {
    let caller = call.shared.sessions.again(opened, call.shared.clock.now()).await?;
    match call.needs() {
        Some(needs) => needs.iter().try_for_each(|(permission, wanted)| hold(*permission, *wanted, &caller)),
        None if caller.rights() == opened.rights() => Ok(()),
        None => Err(Error::new(Kind::Conflict, "ACCESS_CHANGED", "Your roles changed. Open the stream again.")),
    }
}
