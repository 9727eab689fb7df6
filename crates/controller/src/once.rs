//! One look at a cluster, with the eyes of the loop and without its hands: for `plan`, `explain` and `doctor`.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::task::JoinSet;

use crate::event::Event;
use crate::run::answers::Answers;
use crate::run::watches;
use crate::usage;
use crate::world::{Settings, World};

/// Why a cluster could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Something that every decision rests on did not come.
    #[error("cannot read everything within {} s: {missing} is missing (check the rights to list and watch it)", patience.as_secs())]
    Incomplete {
        /// What did not come.
        missing: String,
        /// How long it was waited for.
        patience: Duration,
    },
}

/// Read everything once, take the latest usage, and decide. The world that comes back has all of it, and does nothing.
///
/// # Errors
/// [`LookError`] names what could not be read. Usage that cannot be read is no error: [`World::blind`] says why.
pub async fn look(
    client: &Client,
    settings: Settings,
    now: &(dyn Fn() -> Timestamp + Send + Sync),
    patience: Duration,
) -> Result<World, LookError> {
    let mut world = World::new(settings);
    let (out, mut events) = Answers::new(1024);
    let mut tasks = JoinSet::new();
    watches::begin(client, &out, &mut tasks);
    let all = async {
        while !world.is_complete() {
            let Some((_, event)) = events.recv().await else { return };
            world.apply(event, now());
        }
    };
    if tokio::time::timeout(patience, all).await.is_err() || !world.is_complete() {
        return Err(LookError::Incomplete { missing: world.missing().join(", "), patience });
    }
    let used = usage::of_all(client).await.map_err(|error| usage::blindness(&error));
    world.apply(Event::Usage(used), now());
    Ok(world)
}
