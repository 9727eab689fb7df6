//! `supple uninstall`: pull the switch, put every pod that has sizes from us back to those it would have without us, in place, and say
//! what is left to be removed.
//!
//! ```text
//!   switch ─▶ look ─▶ put back what is ours ─▶ look again ─▶ … ─▶ nothing is ours any more ─▶ put the targets of horizontal
//!                                                                  autoscalers back ─▶ take our notes off the pods
//! ```
//!
//! A controller that runs beside it sees the switch at once, but may have sent a resize a moment before: therefore it is looked
//! again until a look finds nothing to do.

mod fate;
mod touched;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use supple_api::names;
use supple_controller::act::{Order, Wish, carry_out};
use supple_controller::carry::{Answer, aim_at};
use supple_controller::lease::mandate::Mandate;
use supple_controller::outcome::Outcome;
use supple_decide::facts::{PodFacts, Scaler};
use supple_decide::hand::MANAGER;
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::note::Author;
use supple_decide::scaler::Target;
use supple_decide::scene::Scene;
use supple_resize::predict::Change;

use fate::{Fate, Fates};
use touched::{Touched, in_vain, in_words, is_back, lowers_memory_limit, touched};

use super::acting::Acting;
use super::{LoopArgs, look, own_namespace};
use crate::args::ConnectionArgs;
use crate::connect::{chain, connect, reach, unreachable};
use crate::exit::Failure;
use crate::values;

/// Pods that are put back at the same time.
const AT_ONCE: usize = 8;

/// After this many looks whoever still resizes does not mind the switch.
const MOST_LOOKS: usize = 6;

/// How long what a controller had sent before it saw the switch may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Set supple.dev/stop, then restore in place the original sizes of every pod that has sizes from Supple. Without this
    /// flag, only print what would be done.
    #[arg(long)]
    pub restore: bool,
    /// The controller's own namespace [default: that of its deployment, else supple-system if there is one].
    #[arg(short, long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Keep the current sizes of this pod, and forget its original sizes; repeatable.
    #[arg(long, value_name = "NAMESPACE/POD", requires = "restore", value_parser = values::namespaced)]
    pub leave: Vec<(String, String)>,
    /// How long to wait for each pod.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::patience)]
    pub timeout: Duration,
}

/// Do it.
pub async fn uninstall(args: UninstallArgs) -> Result<(), Failure> {
    let client = connect(&args.connection).await?.client;
    reach(&client).await?;
    if !args.restore {
        return tell(look(&client, LoopArgs { vpa: None }).await?.scene());
    }
    let namespace = match args.namespace {
        Some(namespace) => namespace,
        None => home(&client, &Acting::find(&client).await).await?,
    };
    pull_switch(&client, &namespace).await?;
    tokio::time::sleep(ARRIVAL).await;

    let fates = put_all_back(&client, &args.leave, args.timeout, &namespace).await?;
    let failed: BTreeSet<PodKey> = fates.of(|it| matches!(it, Fate::NotBack { .. } | Fate::Unknown)).cloned().collect();
    let aimless = put_targets_back(&client, &failed).await?;
    let (notes, unfinished) = take_notes_off(&client, &args.leave).await?;
    let mut out = std::io::stdout().lock();
    let left = match fates.of(|it| it == Fate::LeftAlone).count() {
        0 => String::new(),
        count => format!(", {count} left unchanged because someone else has resized them since"),
    };
    let back = fates.of(|it| matches!(it, Fate::Back | Fate::Gone)).count();
    writeln!(out, "\n{} restored{left}; Supple's annotations removed from {}", counted(back), counted(notes))?;
    if !unfinished.is_empty() {
        let leave: Vec<String> =
            unfinished.iter().map(|(it, _)| format!("--leave {}/{}", it.namespace, it.name)).collect();
        writeln!(out, "To keep the sizes of the others:\n  supple uninstall --restore {}", leave.join(" "))?;
        let restarts: BTreeSet<String> = unfinished.iter().filter_map(|(pod, of)| restarted_by(pod, of)).collect();
        if !restarts.is_empty() {
            let restarts: Vec<String> = restarts.into_iter().collect();
            writeln!(out, "To have them made anew, with the sizes of their templates:\n  {}", restarts.join("\n  "))?;
        }
        return Err(Failure::refused(format!(
            "{} could not be fully restored. Its record and supple.dev/stop stay. Fix the errors above and run this \
             again, or keep the sizes with --leave",
            counted(unfinished.len())
        )));
    }
    if aimless > 0 {
        return Err(Failure::refused(format!(
            "the targets of {aimless} horizontal autoscalers could not be restored. Their records and \
             supple.dev/stop stay. Fix the errors above and run this again"
        )));
    }
    writeln!(
        out,
        "\nsupple.dev/stop stays set, so nothing is resized again. To remove the rest:\n  \
         helm uninstall supple --namespace {namespace}    (or: kubectl delete -f deploy/)\n  \
         kubectl delete crd {}\n                                        (this deletes all policies and all learned \
         history)\n\
         To continue instead:\n  kubectl annotate namespace {namespace} {}-",
        DEFINITIONS.join(" "),
        names::STOP
    )?;
    Ok(())
}

/// The namespace whose switch the controller minds. Where none is found it is that of a controller that was started by hand or is gone;
/// a namespace that would have to be made for it is read by nobody that anybody knows of, and the switch there would stop nothing.
async fn home(client: &Client, acting: &Acting) -> Result<String, Failure> {
    let namespace = own_namespace(acting);
    let Acting::Nobody(why) = acting else { return Ok(namespace) };
    let found = Api::<Namespace>::all(client.clone()).get_opt(&namespace).await.map_err(|error| match error {
        kube::Error::Api(status) => Failure::refused(format!("nothing was done: {}", status.message)),
        error => unreachable(&error),
    })?;
    if found.is_some() {
        return Ok(namespace);
    }
    let why = match why {
        Some(error) => format!("deployments cannot be listed: {}", chain(error)),
        None => format!("no deployment has the label {}", names::CONTROLLER),
    };
    Err(Failure::refused(format!(
        "no controller was found ({why}), and there is no namespace {namespace}, so nothing was done: supple.dev/stop would \
         be set where no controller reads it. Name the namespace the controller runs in, or ran in, with --namespace"
    )))
}

/// Looks and puts back until a look finds nothing to do, and tells of every pod.
async fn put_all_back(
    client: &Client,
    leave: &[(String, String)],
    timeout: Duration,
    namespace: &str,
) -> Result<Fates, Failure> {
    let mut fates = Fates::default();
    // Why the cluster did not take it, and whether anything has been given back since.
    let mut refused: BTreeMap<PodKey, String> = BTreeMap::new();
    let mut gave_way = false;
    for looks in 1.. {
        let world = look(client, LoopArgs { vpa: None }).await?;
        let Touched { ours, unknown, theirs } = touched(world.scene());
        for pod in unknown.into_iter().filter(|it| !is_left(leave, it)) {
            if fates.put(&pod.key, Fate::Unknown) != Some(Fate::Unknown) {
                say(&pod.key, Fate::Unknown.in_words(), &unknown_of(pod))?;
            }
        }
        for (pod, other) in theirs {
            if fates.put(&pod.key, Fate::LeftAlone) != Some(Fate::LeftAlone) {
                say(&pod.key, "unchanged", &other)?;
            }
        }
        for (pod, _) in ours.iter().filter(|(pod, change)| change.is_empty() && !is_left(leave, pod)) {
            // An earlier run asked for it, in vain.
            if let (Some(why), None) = (in_vain(pod), fates.get(&pod.key)) {
                fates.put(&pod.key, Fate::NotBack { tries: 1, keeps_limit: false });
                refused.insert(pod.key.clone(), why.to_owned());
            }
        }
        let due = ours.into_iter().filter(|(pod, _)| !is_left(leave, pod));
        let orders: Vec<(PodKey, bool, Order)> = due
            .filter_map(|(pod, change)| {
                let (change, by) = fate::next(fates.get(&pod.key), gave_way, pod, change)?;
                let lowers = lowers_memory_limit(pod, &change);
                Some((pod.key.clone(), lowers, order(pod, change, by, timeout)))
            })
            .collect();
        if orders.is_empty() {
            break;
        }
        if looks == MOST_LOOKS {
            return Err(Failure::refused(format!(
                "pods are still being resized although supple.dev/stop is set on namespace {namespace}. If a \
                 controller runs in another namespace, give it with --namespace, or stop it, and run this again"
            )));
        }
        gave_way = false;
        let mut outcomes = stream::iter(orders)
            .map(|(key, lowers, order)| async move {
                (key, lowers, carry_out(client, &order, &jiff::Timestamp::now, &mut |_| {}).await)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((key, lowers, outcome)) = outcomes.next().await {
            let Outcome { reason, message, .. } = outcome.map_err(|error| unreachable(&error))?;
            let fate = fate::after(fates.get(&key), reason, lowers);
            fates.put(&key, fate);
            let told = if fate.is_failure() { format!("{reason}: {message}") } else { message };
            if matches!(fate, Fate::NotBack { .. }) {
                refused.insert(key, told); // it may be tried again, and is told at the end
                continue;
            }
            gave_way |= !fate.is_failure();
            refused.remove(&key);
            say(&key, fate.in_words(), &told)?;
        }
    }
    for (pod, why) in &refused {
        say(pod, "NOT restored", why)?;
    }
    Ok(fates)
}

/// Whether it was asked to leave this pod as it is.
fn is_left(leave: &[(String, String)], pod: &PodFacts) -> bool {
    leave.iter().any(|(namespace, name)| **namespace == *pod.key.namespace && **name == *pod.key.name)
}

/// Our own kinds.
const DEFINITIONS: [&str; 3] =
    ["rightsizings.supple.dev", "rightsizepolicies.supple.dev", "clusterrightsizepolicies.supple.dev"];

/// What has a pod made anew; nothing where nobody would make it.
fn restarted_by(pod: &PodKey, of: &WorkloadKey) -> Option<String> {
    let namespace = &pod.namespace;
    match &*of.kind {
        "Pod" => None,
        "Deployment" | "StatefulSet" | "DaemonSet" => {
            Some(format!("kubectl rollout restart {}/{} -n {namespace}", of.kind.to_lowercase(), of.name))
        }
        _ => Some(format!("kubectl delete pod {} -n {namespace}", pod.name)),
    }
}

/// Without `--restore`: what would be done.
fn tell(scene: &Scene) -> Result<(), Failure> {
    let Touched { ours, unknown, theirs } = touched(scene);
    for pod in unknown {
        say(&pod.key, "cannot be restored", &unknown_of(pod))?;
    }
    for (pod, other) in &theirs {
        say(&pod.key, "unchanged", other)?;
    }
    let due: Vec<_> = ours.into_iter().filter(|(_, change)| !change.is_empty()).collect();
    for (pod, change) in &due {
        say(&pod.key, "would be restored", &in_words(pod, change))?;
    }
    for (workload, target) in targets(scene) {
        say_of(&workload.namespace, "hpa", &target.name, "would be restored", &aims(&target))?;
    }
    writeln!(
        std::io::stdout(),
        "{} would be restored, after supple.dev/stop is set; to do it: supple uninstall --restore",
        counted(due.len())
    )?;
    Ok(())
}

/// Why a pod cannot be put back.
fn unknown_of(pod: &PodFacts) -> String {
    let (namespace, name) = (&pod.key.namespace, &pod.key.name);
    format!(
        "nothing says what it requested before its first resize; `supple undo pod/{name} -n {namespace}` restores what it \
         requested before its last one"
    )
}

fn say(pod: &PodKey, what: &str, why: &str) -> Result<(), Failure> {
    say_of(&pod.namespace, "pod", &pod.name, what, why)
}

fn say_of(namespace: &str, kind: &str, name: &str, what: &str, why: &str) -> Result<(), Failure> {
    let object = format!("{namespace}/{kind}/{name}");
    Ok(writeln!(std::io::stdout().lock(), "{object:<40}  {what:<17}  {why}")?)
}

/// Autoscalers whose target we changed, with the one they had before us.
fn targets(scene: &Scene) -> Vec<(&WorkloadKey, Target)> {
    let of = |it: &Scaler| {
        let (kind, name, anchor) = (it.kind.clone(), it.name.clone(), it.adjusted()?.0);
        Some(Target { kind, name, from: anchor.to, to: anchor.percent, anchor: None })
    };
    let all = scene.workloads.iter();
    all.flat_map(|(key, it)| it.facts.scalers.iter().filter_map(of).map(move |it| (key, it))).collect()
}

fn aims(target: &Target) -> String {
    format!("cpu target {} % → {} %", target.from, target.to)
}

/// Pods ask for what they asked for before us: so do the autoscalers that read it aim at what they aimed at, unless a pod of
/// theirs could not be put back. How many could not be.
async fn put_targets_back(client: &Client, failed: &BTreeSet<PodKey>) -> Result<usize, Failure> {
    let world = look(client, LoopArgs { vpa: None }).await?;
    let scene = world.scene();
    let held: BTreeSet<_> = failed.iter().filter_map(|it| Some(&scene.pods.get(it)?.workload)).collect();
    let mut aimless = 0;
    for (workload, target) in &targets(scene) {
        if held.contains(workload) {
            continue;
        }
        let (what, why) = match aim_at(client, &workload.namespace, target, &Mandate::alone()).await {
            Answer::Accepted { .. } => ("restored", aims(target)),
            // Somebody else aims it by now: it is no longer ours.
            Answer::Overtaken(why) => ("unchanged", why),
            Answer::Refused(why) | Answer::Blocked(why) | Answer::Busy(why) | Answer::Failed(why) => {
                aimless += 1;
                ("NOT restored", why)
            }
        };
        say_of(&workload.namespace, "hpa", &target.name, what, &why)?;
    }
    Ok(aimless)
}

fn counted(pods: usize) -> String {
    format!("{pods} pod{}", if pods == 1 { "" } else { "s" })
}

fn order(pod: &PodFacts, change: Change, by: Author, timeout: Duration) -> Order {
    Order {
        namespace: pod.key.namespace.to_string(),
        pod: pod.key.name.to_string(),
        uid: Some(pod.key.uid.to_string()),
        wish: Wish::Change(change),
        by,
        wait: Some(timeout),
        dry_run: false,
    }
}

/// Stop whatever runs. A switch that is pulled already keeps its reason.
async fn pull_switch(client: &Client, namespace: &str) -> Result<(), Failure> {
    let api = Api::<Namespace>::all(client.clone());
    let refused = |error: kube::Error| match error {
        kube::Error::Api(status) => Failure::refused(format!(
            "cannot set supple.dev/stop on namespace {namespace}, so nothing was done: {}",
            status.message
        )),
        error => unreachable(&error),
    };
    let pulled = |it: &Namespace| it.metadata.annotations.as_ref().is_some_and(|it| it.contains_key(names::STOP));
    let found = api.get_opt(namespace).await.map_err(refused)?;
    let is_new = found.is_none();
    if !found.as_ref().is_some_and(pulled) {
        let why = format!("supple uninstall --restore, {:.0}", jiff::Timestamp::now());
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "annotations": {(names::STOP): why}},
        });
        // Applied, because a loop in `supple up` has no namespace of its own and minds the switch all the same.
        let params = PatchParams::apply("supple-uninstall").force();
        api.patch(namespace, &params, &Patch::Apply(&object)).await.map_err(refused)?;
    }
    let (stop, made) = (names::STOP, if is_new { ", which was created for this" } else { "" });
    crate::say(&format!("{stop} is set on namespace {namespace}{made}"));
    Ok(())
}

/// Take our notes off the pods that have their original sizes, or are left as they are: whoever installs us again finds them free.
/// Of how many; and those on which they stay, with their workloads, because something of them is still to be put back, or they are all
/// that is known.
async fn take_notes_off(
    client: &Client,
    leave: &[(String, String)],
) -> Result<(usize, Vec<(PodKey, WorkloadKey)>), Failure> {
    let world = look(client, LoopArgs { vpa: None }).await?;
    let Touched { ours, unknown, .. } = touched(world.scene());
    let ours = ours.into_iter().map(|(pod, change)| (pod, is_back(pod, &change)));
    let mut taken = 0;
    let mut unfinished = Vec::new();
    for (pod, is_back) in ours.chain(unknown.into_iter().map(|it| (it, false))) {
        if !is_back && !is_left(leave, pod) {
            unfinished.push((pod.key.clone(), pod.workload.clone()));
            continue;
        }
        let api = Api::<Pod>::namespaced(client.clone(), &pod.key.namespace);
        let notes = json!({(names::LAST_RESIZE): null, (names::SIZED_AT_CREATION): null});
        let patch = json!({"metadata": {"uid": &*pod.key.uid, "annotations": notes}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(&pod.key.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => taken += 1,
            // It was replaced meanwhile, and its successor has none.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(kube::Error::Api(status)) => {
                crate::say(&format!("note: {} stays on {}: {}", names::LAST_RESIZE, pod.key, status.message));
            }
            Err(error) => return Err(unreachable(&error)),
        }
    }
    Ok((taken, unfinished))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, expect: Option<&str>) {
        let of = WorkloadKey { namespace: "shop".into(), kind: kind.into(), name: "web".into() };
        assert_eq!(restarted_by(&PodKey::new("shop", "web-0", "u"), &of).as_deref(), expect);
    }

    #[test]
    fn who_is_made_anew_and_how() {
        check("Deployment", Some("kubectl rollout restart deployment/web -n shop"));
        check("Job", Some("kubectl delete pod web-0 -n shop"));
        check("Pod", None);
    }
}
