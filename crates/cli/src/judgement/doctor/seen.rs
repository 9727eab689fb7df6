//! What one look with the eyes of the loop finds: usage, definitions, policies, the switch, other autoscalers, nodes.

use std::collections::BTreeMap;

use supple_api::Problem;
use supple_controller::world::World;
use supple_decide::facts::{Metric, Phase, Scaler};
use supple_decide::policy::{Mode, WithScaler};
use supple_resize::amounts::Resource;

use super::{Finding, first_of};

/// So many objects of one kind are named, the others counted.
const NAMED: usize = 5;

pub(super) fn seen(world: &World) -> Vec<Finding> {
    let mut findings = vec![usage(world), definitions(world)];
    findings.extend(problems(world.rules().problems()));
    findings.push(switch(world));
    findings.extend(autoscalers(world));
    findings.push(modes(world));
    findings.extend(nodes(world));
    findings
}

/// What cannot be read has to be corrected. What is understood and only not carried out is to be known: once an object.
fn problems(all: &[Problem]) -> Vec<Finding> {
    let (left_out, wrong): (Vec<&Problem>, Vec<&Problem>) = all.iter().partition(|it| it.is_left_out());
    let wrong = wrong.iter().map(|it| Finding::bad("policies", it.to_string(), "correct the object")).collect();
    let mut objects: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for it in left_out {
        objects.entry(&it.object).or_default().push(&it.field);
    }
    let notes = objects.into_iter().map(|(object, fields)| {
        let says = format!("{object}: not applied: {}", fields.join(", "));
        Finding::note("policies", says, "see its conditions for what applies instead")
    });
    let mut findings = first_of(wrong, NAMED);
    findings.extend(first_of(notes.collect(), NAMED));
    findings
}

fn usage(world: &World) -> Finding {
    let scene = world.scene();
    if let Some(why) = world.blind() {
        return Finding::bad(
            "usage",
            format!("there are no measurements: {why}"),
            "install metrics-server; kubectl top pods must work",
        );
    }
    let running = scene.pods.values().filter(|it| it.phase == Phase::Running);
    let (all, measured) =
        running.fold((0, 0), |(all, measured), it| (all + 1, measured + usize::from(scene.uses.contains_key(&it.key))));
    let says = format!("metrics.k8s.io measures {measured} of {all} running pods");
    // Pods of the last minute have not been measured yet.
    if measured * 10 >= all * 9 {
        Finding::good("usage", says)
    } else {
        Finding::note(
            "usage",
            says,
            "wait a minute if the pods are new; otherwise see the log of metrics-server, and their nodes",
        )
    }
}

fn definitions(world: &World) -> Finding {
    if world.rules().available().ours {
        Finding::good("definitions", "RightsizePolicy, ClusterRightsizePolicy and Rightsizing are installed")
    } else {
        Finding::bad(
            "definitions",
            "Supple's resource definitions are missing: there are no policies, and a restart loses the history",
            "kubectl apply -f deploy/crds",
        )
    }
}

fn switch(world: &World) -> Finding {
    let namespace = world.own_namespace();
    match &world.scene().cluster.stopped {
        None => Finding::good("switch", format!("supple.dev/stop is not set on namespace {namespace}")),
        Some(why) => Finding::note(
            "switch",
            format!("supple.dev/stop is set, so Supple does nothing: {why}"),
            format!("kubectl annotate namespace {namespace} supple.dev/stop-"),
        ),
    }
}

/// Who else acts on workloads that we may resize, or would.
fn autoscalers(world: &World) -> Vec<Finding> {
    let scene = world.scene();
    let (mut vertical, mut horizontal) = (Vec::new(), Vec::new());
    for (key, subject) in &scene.workloads {
        for other in &subject.facts.other_vertical {
            vertical.push(Finding::note(
                "autoscalers",
                format!("{key}: verticalpodautoscaler/{other} acts on it, so Supple does not"),
                "to hand it over, set its spec.recommenders: [{name: supple}], its updateMode to Off while VPA's updater runs, and \
                 the label supple.dev/mode on the workload (docs/from-vpa.md)",
            ));
        }
        for scaler in &subject.facts.scalers {
            // The target of one that scales what the workload is made by is never changed.
            let through = scaler.through.as_ref();
            if through.is_none() && subject.policy.with_scaler.value == WithScaler::Adjust {
                continue;
            }
            let Some(reads) = reads(scaler) else { continue };
            let says = format!(
                "{key}: {}/{} scales{} at {reads}, so Supple does not change that request",
                scaler.kind.to_lowercase(),
                scaler.name,
                through.map(|it| format!(" {it}")).unwrap_or_default(),
            );
            let remedy = match through {
                Some(_) => "scale on another metric",
                None => "set hpa: Adjust in its policy, or scale on another metric",
            };
            horizontal.push(Finding::note("autoscalers", says, remedy));
        }
    }
    if vertical.is_empty() && horizontal.is_empty() {
        return vec![Finding::good("autoscalers", "no other autoscaler conflicts")];
    }
    first_of(vertical, NAMED).into_iter().chain(first_of(horizontal, NAMED)).collect()
}

/// Which requests it reads, and where it aims.
fn reads(scaler: &Scaler) -> Option<String> {
    let part = |it: &Metric| {
        let what = if it.resource == Resource::Cpu { "CPU" } else { "memory" };
        let of = it.container.as_ref().map(|it| format!(" of {it}")).unwrap_or_default();
        format!("{} % of requested {what}{of}", it.percent)
    };
    let parts: Vec<String> = scaler.metrics.iter().map(part).collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

fn modes(world: &World) -> Finding {
    let workloads = &world.scene().workloads;
    let acting = workloads.values().filter(|it| it.policy.mode.value > Mode::Initial).count();
    let all = workloads.len();
    match acting {
        _ if all == 0 => Finding::good("modes", "there are no workloads"),
        0 => Finding::good("modes", format!("0 of {all} workloads may be resized: Supple only recommends")),
        _ if acting == all => Finding::good("modes", format!("{all} of {all} workloads may be resized")),
        _ => Finding::good(
            "modes",
            format!("{acting} of {all} workloads may be resized; Supple only recommends for the others"),
        ),
    }
}

fn nodes(world: &World) -> Vec<Finding> {
    let nodes = &world.scene().nodes;
    let mut findings = Vec::new();
    let silent: Vec<&str> = nodes.iter().filter(|it| !it.1.ready).map(|it| &**it.0).collect();
    if !silent.is_empty() {
        let says = format!("{} of {} nodes are not ready: {}", silent.len(), nodes.len(), few(&silent));
        findings.push(Finding::note("nodes", says, "kubectl describe node; until then their pods keep their sizes"));
    }
    let old: Vec<&str> = nodes.iter().filter(|it| is_old(it.1)).map(|it| &**it.0).collect();
    if !old.is_empty() {
        let says =
            format!("{} of {} nodes are older than 1.33 and cannot resize pods: {}", old.len(), nodes.len(), few(&old));
        findings.push(Finding::note(
            "nodes",
            says,
            "upgrade them; until then Supple does not resize their pods in place",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good("nodes", format!("{} ready, all at 1.33 or newer", nodes.len())));
    }
    findings
}

fn is_old(node: &supple_decide::facts::NodeFacts) -> bool {
    node.kubelet.is_some_and(|it| it < 33)
}

fn few(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_is_only_not_carried_out_is_one_note_an_object() {
        let problem = |object: &str, field: &str, message: &str| Problem {
            object: object.to_owned(),
            field: field.to_owned(),
            message: message.to_owned(),
        };
        let found = problems(&[
            problem("verticalpodautoscaler/shop/web", "spec.a", "not applied: x"),
            problem("verticalpodautoscaler/shop/web", "spec.b", "not needed: y"),
            problem("rightsizepolicy/shop/p", "spec.windows[0]", "cannot read it"),
        ]);
        let told: Vec<(State, &str)> = found.iter().map(|it| (it.state, it.says.as_str())).collect();
        assert_eq!(
            told,
            [
                (State::Bad, "rightsizepolicy/shop/p: spec.windows[0]: cannot read it"),
                (State::Note, "verticalpodautoscaler/shop/web: not applied: spec.a, spec.b"),
            ]
        );
    }
}
