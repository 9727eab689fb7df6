//! `supple plan`, `explain`, `doctor` and `uninstall`: what the loop would do, why, what it lacks, and how to be rid of it.
//! All of them look at the cluster once with the eyes of the loop.

mod columns;
mod doctor;
mod explain;
mod plan;
mod target;
mod uninstall;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client};
use supple_controller::once;
use supple_controller::world::{Settings, World};

pub use doctor::{DoctorArgs, doctor};
pub use explain::{ExplainArgs, explain};
pub use plan::{PlanArgs, plan};
pub use uninstall::{UninstallArgs, uninstall};

use crate::exit::Failure;

/// How long it is waited for what has to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// The label by which our own deployment is found.
const OURS: &str = "app.kubernetes.io/name=supple";

/// The namespace the controller runs in, where the switch is: `$POD_NAMESPACE`, else that of the deployment named supple, else
/// the one it is installed into by default.
async fn own_namespace(client: &Client) -> String {
    if let Some(own) = std::env::var("POD_NAMESPACE").ok().filter(|it| !it.is_empty()) {
        return own;
    }
    let ours = ListParams::default().labels(OURS);
    let found = Api::<Deployment>::all(client.clone()).list(&ours).await;
    // Who may not list deployments of all namespaces is told so by what follows.
    let namespace = found.ok().and_then(|it| it.items.into_iter().find_map(|it| it.metadata.namespace));
    namespace.unwrap_or_else(|| Settings::default().own_namespace.to_string())
}

/// The settings of a look: the same as the controller's.
async fn settings(client: &Client) -> Settings {
    Settings { own_namespace: Arc::from(own_namespace(client).await), ..Settings::default() }
}

/// Look at the cluster.
async fn look(client: &Client) -> Result<World, Failure> {
    let settings = settings(client).await;
    let world = once::look(client, settings, &jiff::Timestamp::now, PATIENCE).await.map_err(Failure::unreachable)?;
    if let Some(why) = world.blind() {
        crate::say(&format!("note: nothing is measured: {why}"));
    }
    Ok(world)
}
