//! `supple plan`, `explain`, `doctor` and `uninstall`: what the loop would do, why, what it lacks, and how to be rid of it.
//! All of them look at the cluster once with the eyes of the loop.

mod doctor;
mod explain;
mod plan;
mod target;
mod uninstall;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use supple_controller::once;
use supple_controller::world::{Settings, World};

pub use doctor::{DoctorArgs, doctor};
pub use explain::{ExplainArgs, explain};
pub use plan::{PlanArgs, plan};
pub use uninstall::{UninstallArgs, uninstall};

use crate::exit::Failure;

/// How long it is waited for what has to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// The settings of a look: the same as the controller's.
fn settings() -> Settings {
    let own = std::env::var("POD_NAMESPACE").ok().filter(|it| !it.is_empty());
    let default = Settings::default();
    Settings { own_namespace: own.map_or(default.own_namespace.clone(), Arc::from), ..default }
}

/// Look at the cluster.
async fn look(client: &Client) -> Result<World, Failure> {
    let world = once::look(client, settings(), &jiff::Timestamp::now, PATIENCE).await.map_err(Failure::unreachable)?;
    if let Some(why) = world.blind() {
        crate::say(&format!("note: nothing is measured: {why}"));
    }
    Ok(world)
}
