//! `supple doctor`: what is missing or misconfigured, each with its cure.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;
use supple_controller::once;
use supple_controller::world::World;

use super::{PATIENCE, settings};
use crate::args::ConnectionArgs;
use crate::connect::{chain, connect};
use crate::exit::Failure;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_default_value = true)]
    pub output: DoctorOutput,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// As it should be.
    Good,
    /// It works, and could be better; or it could not be found out.
    Note,
    /// Something does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// What.
    what: String,
    /// How it is.
    state: State,
    /// In a sentence.
    says: String,
    /// What to do about it; empty: nothing.
    cure: String,
}

fn finding(what: &str, state: State, says: impl Into<String>, cure: &str) -> Finding {
    Finding { what: what.to_owned(), state, says: says.into(), cure: cure.to_owned() }
}

/// Requests the loop makes beside reading: group, resource, subresource, verb, and what for.
const NEEDED: [(&str, &str, &str, &str, &str); 9] = [
    ("", "pods", "resize", "patch", "resize pods"),
    ("", "pods", "", "patch", "note on a pod what was before"),
    ("", "pods", "eviction", "create", "recreate pods in the modes that allow it"),
    ("", "nodes", "proxy", "get", "read throttling and pressure from kubelets"),
    ("metrics.k8s.io", "pods", "", "list", "measure"),
    ("events.k8s.io", "events", "", "create", "tell people what was done"),
    ("supple.dev", "rightsizings", "status", "patch", "remember what was learned"),
    ("supple.dev", "rightsizings", "", "patch", "remember what was learned"),
    ("coordination.k8s.io", "leases", "", "update", "lead among several replicas"),
];

/// Look at everything.
pub async fn doctor(args: DoctorArgs) -> Result<(), Failure> {
    let client = connect(&args.connection).await?.client;
    let mut findings = vec![version(&client).await?];
    findings.push(resize(&client).await);
    findings.extend(access(&client).await);
    match once::look(&client, settings(), &jiff::Timestamp::now, PATIENCE).await {
        Ok(world) => findings.extend(seen(&world)),
        Err(error) => findings.push(finding(
            "reading",
            State::Bad,
            error.to_string(),
            "grant get, list and watch on what is named (the chart's ClusterRole does)",
        )),
    }
    let bad = findings.iter().filter(|it| it.state == State::Bad).count();
    let mut out = std::io::stdout().lock();
    match args.output {
        DoctorOutput::Json => {
            serde_json::to_writer_pretty(&mut out, &findings).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        DoctorOutput::Text => {
            for Finding { what, state, says, cure } in &findings {
                let mark = match state {
                    State::Good => "ok  ",
                    State::Note => "note",
                    State::Bad => "BAD ",
                };
                writeln!(out, "{mark}  {what:<22} {says}")?;
                if !cure.is_empty() {
                    writeln!(out, "{:28} → {cure}", "")?;
                }
            }
        }
    }
    if bad == 0 { Ok(()) } else { Err(Failure::Refused(None)) }
}

async fn version(client: &Client) -> Result<Finding, Failure> {
    let version = client
        .apiserver_version()
        .await
        .map_err(|error| Failure::unreachable(format!("the cluster cannot be reached: {}", chain(&error))))?;
    let minor: u32 = version.minor.trim_end_matches('+').parse().unwrap_or(0);
    let says = format!("Kubernetes {}", version.git_version);
    Ok(match minor {
        0..=32 => finding(
            "version",
            State::Bad,
            says,
            "pods are resized in place from Kubernetes 1.33 on: upgrade the cluster",
        ),
        33 => finding("version", State::Note, says + ": memory limits cannot be lowered in place before 1.34", ""),
        _ => finding("version", State::Good, says, ""),
    })
}

async fn resize(client: &Client) -> Finding {
    match client.list_core_api_resources("v1").await {
        Ok(list) if list.resources.iter().any(|it| it.name == "pods/resize") => {
            finding("pods/resize", State::Good, "is served", "")
        }
        Ok(_) => finding(
            "pods/resize",
            State::Bad,
            "is not served",
            "turn on the feature InPlacePodVerticalScaling, or upgrade",
        ),
        Err(error) => finding("pods/resize", State::Note, format!("could not be asked for: {error}"), ""),
    }
}

async fn access(client: &Client) -> Vec<Finding> {
    let api = Api::<SelfSubjectAccessReview>::all(client.clone());
    let mut findings = Vec::new();
    for (group, resource, subresource, verb, purpose) in NEEDED {
        let some = |it: &str| Some(it.to_owned()).filter(|it| !it.is_empty());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: some(group),
                    resource: some(resource),
                    subresource: some(subresource),
                    verb: some(verb),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        match api.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|it| it.allowed) => {}
            Ok(_) => {
                let what =
                    if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
                let says = format!("you may not {verb} {what}, which is needed to {purpose}");
                findings.push(finding(
                    "access",
                    State::Note,
                    says,
                    "grant it to whoever runs the controller (the chart does)",
                ));
            }
            Err(error) => {
                let says = format!("could not be asked for: {}", short(&error));
                return vec![finding("access", State::Note, says, "")];
            }
        }
    }
    if findings.is_empty() {
        findings.push(finding("access", State::Good, "everything the controller does is allowed to you", ""));
    }
    findings
}

fn short(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

fn seen(world: &World) -> Vec<Finding> {
    let scene = world.scene();
    let mut findings = Vec::new();
    findings.push(match world.blind() {
        None => {
            finding("usage", State::Good, format!("{} pods of {} are measured", scene.uses.len(), scene.pods.len()), "")
        }
        Some(why) => finding("usage", State::Bad, why, "install metrics-server, or give the controller --prometheus"),
    });
    let available = world.rules().available();
    findings.push(if available.ours {
        finding("definitions", State::Good, "RightsizePolicy, ClusterRightsizePolicy and Rightsizing are there", "")
    } else {
        finding(
            "definitions",
            State::Bad,
            "our resource definitions are missing: nothing is remembered across a restart",
            "kubectl apply -f deploy/crds",
        )
    });
    for problem in world.rules().problems() {
        findings.push(finding("policy", State::Bad, problem.to_string(), "correct the object"));
    }
    if let Some(why) = &scene.cluster.stopped {
        let says = format!("the switch is pulled, nothing is done: {why}");
        findings.push(finding(
            "switch",
            State::Note,
            says,
            "remove the annotation supple.dev/stop from the controller's namespace",
        ));
    }
    for (key, subject) in &scene.workloads {
        for other in &subject.facts.other_vertical {
            let says = format!("{key}: {other} acts on it too");
            findings.push(finding("other autoscaler", State::Note, says, "let one of the two act"));
        }
    }
    let acting =
        scene.workloads.values().filter(|it| it.policy.mode.value > supple_decide::policy::Mode::Initial).count();
    let all = scene.workloads.len();
    let says = format!("{acting} of {all} workloads may be resized; for the others it is recommended");
    findings.push(finding("modes", State::Good, says, ""));
    let silent = scene.nodes.values().filter(|it| !it.ready).count();
    if silent > 0 {
        findings.push(finding(
            "nodes",
            State::Note,
            format!("{silent} of {} nodes are not ready", scene.nodes.len()),
            "",
        ));
    }
    findings
}
