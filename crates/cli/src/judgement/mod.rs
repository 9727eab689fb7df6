//! `supple plan`, `explain`, `doctor` and `uninstall`: what the loop would do, why, what it lacks, and how to be rid of it.
//! All of them look at the cluster once with the eyes of the loop.

pub(crate) mod acting;
mod columns;
mod doctor;
mod explain;
mod plan;
mod target;
mod uninstall;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::ListParams;
use kube::{Api, Client};
use supple_api::autoscaler::CarryOut;
use supple_controller::once;
use supple_controller::webhook::registration::Registration;
use supple_controller::world::{Settings, World};

use acting::Acting;
use clap::Args;
pub use doctor::{DoctorArgs, doctor};
pub use explain::{ExplainArgs, explain};
pub use plan::{PlanArgs, plan};
pub use uninstall::{UninstallArgs, uninstall};

use crate::connect::{chain, unreachable};
use crate::exit::Failure;

/// How long it is waited for what has to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What may be said of the loop, where it is not found out.
#[derive(Clone, Copy, Debug, Args)]
pub struct LoopArgs {
    /// VerticalPodAutoscaler objects that the loop acts on, as for `supple controller`: named, all, none [default: the
    /// setting of the running controller or `supple up`, else named].
    #[arg(long, value_name = "WHICH")]
    pub vpa: Option<CarryOut>,
}

/// The namespace the controller runs in, where the switch is: `$POD_NAMESPACE`, else that of its deployment, else
/// the one it is installed into by default.
fn own_namespace(acting: &Acting) -> String {
    let own = std::env::var("POD_NAMESPACE").ok().filter(|it| !it.is_empty());
    // Who may not list deployments of all namespaces is told so by what follows.
    own.or_else(|| acting.namespace()).unwrap_or_else(|| Settings::default().own_namespace.to_string())
}

/// The settings of a look: the same as those of the loop that acts.
fn settings(acting: &Acting, told: LoopArgs) -> Settings {
    Settings {
        own_namespace: Arc::from(own_namespace(acting)),
        autoscalers: told.vpa.or(acting.autoscalers()).unwrap_or_default(),
        namespaced_guards: acting.asks_namespaced_guards(),
        ..Settings::default()
    }
}

/// Look at the cluster.
async fn look(client: &Client, told: LoopArgs) -> Result<World, Failure> {
    // Watches are begun again and again where they are refused: whoever may not see is told so at once, and in one sentence; so is
    // whoever reaches nothing, or is not let in.
    if let Some(unseen) = doctor::unseen(client).await.map_err(|error| unreachable(&error))? {
        return Err(Failure::refused(format!(
            "{unseen} in all namespaces, and what is decided of one pod rests on them all; ask with the rights of the chart's ClusterRole, \
             or read what the controller has found: kubectl get rightsizings"
        )));
    }
    let settings = settings(&Acting::find(client).await, told);
    match Api::<MutatingWebhookConfiguration>::all(client.clone()).list(&ListParams::default()).await {
        Ok(all) => settings.registered.set(Registration::of(&all)),
        Err(error) => crate::say(&format!("note: cannot read whether new pods are sized: {}", chain(&error))),
    }
    let world = once::look(client, settings, &jiff::Timestamp::now, PATIENCE).await.map_err(Failure::unreachable)?;
    if let Some(why) = world.blind() {
        crate::say(&format!("note: there are no measurements: {why}"));
    }
    Ok(world)
}
