//! `supple uninstall`: put every pod we touched back to the sizes it had before us, in place, and take away what we left.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use kube::Api;
use kube::api::DeleteParams;
use supple_api::{Rightsizing, names};
use supple_controller::act::{Order, Wish, carry_out};
use supple_decide::hand::Hand;
use supple_decide::note::Author;
use supple_decide::numbers::Numbers;
use supple_resize::predict::Change;

use super::look;
use crate::args::ConnectionArgs;
use crate::connect::{chain, connect};
use crate::exit::Failure;
use crate::values;

#[derive(Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Give every pod that we resized the sizes it had before, in place. Without it nothing is done but told.
    #[arg(long)]
    pub restore: bool,
    /// How long to wait for each pod.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    pub timeout: Duration,
}

/// Do it.
pub async fn uninstall(args: UninstallArgs) -> Result<(), Failure> {
    let client = connect(&args.connection).await?.client;
    let world = look(&client).await?;
    let scene = world.scene();
    let mut failed = 0_usize;
    let mut touched = 0_usize;
    for (workload, subject) in &scene.workloads {
        let originals = &subject.record.originals;
        for pod in scene.pods.values().filter(|it| it.workload == *workload && it.note.is_some()) {
            let containers = pod.containers.iter().map(|it| (it.name.to_string(), it.asked));
            let change = back(containers, originals);
            if change.is_empty() {
                continue;
            }
            touched += 1;
            if let Hand::Theirs(other) = &pod.hand {
                writeln!(std::io::stdout(), "pod/{} in {} left alone: {other}", pod.key.name, pod.key.namespace)?;
                continue;
            }
            if !args.restore {
                writeln!(std::io::stdout(), "pod/{} in {} would be put back", pod.key.name, pod.key.namespace)?;
                continue;
            }
            let order = Order {
                namespace: pod.key.namespace.to_string(),
                pod: pod.key.name.to_string(),
                uid: Some(pod.key.uid.to_string()),
                wish: Wish::Change(change),
                by: Author::Undo,
                wait: Some(args.timeout),
                dry_run: false,
            };
            let outcome = carry_out(&client, &order, &jiff::Timestamp::now, &mut |_| {})
                .await
                .map_err(|error| Failure::unreachable(format!("the cluster cannot be reached: {}", chain(&error))))?;
            failed += usize::from(!outcome.reason.is_success());
            writeln!(
                std::io::stdout(),
                "pod/{} in {} {}: {}",
                outcome.pod,
                outcome.namespace,
                outcome.reason,
                outcome.message
            )?;
        }
    }
    if !args.restore {
        writeln!(std::io::stdout(), "{touched} pods would be put back; do it with: supple uninstall --restore")?;
        return Ok(());
    }
    if failed > 0 {
        return Err(Failure::refused(format!(
            "{failed} of {touched} pods could not be put back; what is remembered of them stays"
        )));
    }
    let mut forgotten = 0_usize;
    for workload in scene.workloads.keys() {
        let api = Api::<Rightsizing>::namespaced(client.clone(), &workload.namespace);
        let name = names::rightsizing(&workload.kind, &workload.name);
        forgotten += usize::from(api.delete(&name, &DeleteParams::default()).await.is_ok());
    }
    writeln!(
        std::io::stdout(),
        "{touched} pods put back, {forgotten} Rightsizing objects deleted; now remove the program: helm uninstall supple, or kubectl delete -f deploy/"
    )?;
    Ok(())
}

/// What gives containers their original sizes back. A number that was not set before us cannot be taken away again; none is
/// ever added.
fn back(containers: impl Iterator<Item = (String, Numbers)>, originals: &BTreeMap<String, Numbers>) -> Change {
    let mut change = Change::default();
    for (name, asked) in containers {
        let Some(original) = originals.get(&name) else { continue };
        let wanted = Numbers {
            cpu_request: original.cpu_request.or(asked.cpu_request),
            cpu_limit: original.cpu_limit.or(asked.cpu_limit),
            memory_request: original.memory_request.or(asked.memory_request),
            memory_limit: original.memory_limit.or(asked.memory_limit),
        };
        let sizes = wanted.beyond(&asked);
        if !sizes.is_empty() {
            change.containers.insert(name, sizes);
        }
    }
    change
}
