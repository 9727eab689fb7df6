//! What must be true: after each death, after each start, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;
use supple_node::runtime::Runtime;
use supple_resize::actuate;
use supple_resize::allocate::Allocation;
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};

use crate::hook::MARK;
use crate::machine::{HELD, lock};
use crate::run::{CAPACITY, World, pods};

/// What the node has on disk as promised, by UID.
fn promised(world: &World) -> Result<BTreeMap<String, Allocation>, String> {
    let database = world.checkpoints.copy();
    let unreadable = |error: &dyn std::fmt::Display| format!("the checkpoints cannot be read: {error}");
    let table = TableDefinition::<&str, &[u8]>::new("allocated");
    let read = database.begin_read().map_err(|error| unreadable(&error))?;
    // A node that died before its first record has no table.
    let Ok(table) = read.open_table(table) else { return Ok(BTreeMap::new()) };
    let mut promised = BTreeMap::new();
    for row in table.iter().map_err(|error| unreadable(&error))? {
        let (uid, record) = row.map_err(|error| unreadable(&error))?;
        let record: Value = serde_json::from_slice(record.value()).map_err(|error| unreadable(&error))?;
        let allocation = serde_json::from_value(record["allocation"].clone()).map_err(|error| unreadable(&error))?;
        promised.insert(uid.value().to_owned(), allocation);
    }
    // What stands in the log is newer.
    let log = TableDefinition::<u64, &[u8]>::new("log");
    let log = read.open_table(log).map_err(|error| unreadable(&error))?;
    for row in log.iter().map_err(|error| unreadable(&error))? {
        let (_, lines) = row.map_err(|error| unreadable(&error))?;
        let lines: Vec<Value> = serde_json::from_slice(lines.value()).map_err(|error| unreadable(&error))?;
        for line in lines {
            if let Some(uid) = line["forgotten"].as_str() {
                promised.remove(uid);
            }
            if let Some(uid) = line["allocated"][0].as_str() {
                let allocation = line["allocated"][1]["allocation"].clone();
                let allocation = serde_json::from_value(allocation).map_err(|error| unreadable(&error))?;
                promised.insert(uid.to_owned(), allocation);
            }
        }
    }
    Ok(promised)
}

/// The UIDs of the pods that hold what they were promised: those that are stored, but not one that is being deleted and
/// of which nothing is left on the machine.
fn holding(world: &World) -> Result<BTreeSet<String>, String> {
    let found = world.runtime.recover().now_or_never().ok_or("the simulated machine answers at once")?;
    let found = found.map_err(|error| error.to_string())?;
    let database = world.store.copy();
    let unreadable = |error: &dyn std::fmt::Display| format!("the store cannot be read: {error}");
    let table = TableDefinition::<&str, (u64, &[u8])>::new("objects");
    let read = database.begin_read().map_err(|error| unreadable(&error))?;
    let Ok(table) = read.open_table(table) else { return Ok(BTreeSet::new()) };
    let mut holding = BTreeSet::new();
    for row in table.range("pods/".."pods0").map_err(|error| unreadable(&error))? {
        let (_, object) = row.map_err(|error| unreadable(&error))?;
        let pod: Value = serde_json::from_slice(object.value().1).map_err(|error| unreadable(&error))?;
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if pod["metadata"]["deletionTimestamp"].is_null() || found.iter().any(|it| it.pod.uid == uid) {
            holding.insert(uid);
        }
    }
    Ok(holding)
}

/// The node never promised more than it has. Records of pods that are gone promise nothing: they are dropped when the
/// next node starts.
pub fn nothing_overcommitted(world: &World) -> Result<(), String> {
    let (mut cpu, mut memory) = (0, 0);
    let holding = holding(world)?;
    for (_, allocation) in promised(world)?.into_iter().filter(|(uid, _)| holding.contains(uid)) {
        // All pods of a run have regular containers alone, so their sum is the pod's.
        let requests = allocation.requests(&shape(&allocation));
        cpu += requests.cpu_request.0;
        memory += requests.memory_request.0;
    }
    if cpu > CAPACITY.cpu.0 || memory > CAPACITY.memory.0 {
        return Err(format!("{cpu}m CPU and {memory} bytes are promised, the node has {CAPACITY:?}"));
    }
    Ok(())
}

/// A pod with these containers.
fn shape(allocation: &Allocation) -> Pod {
    let container = |name: &String| k8s_openapi::api::core::v1::Container { name: name.clone(), ..Default::default() };
    let containers = allocation.containers.keys().map(container).collect();
    let spec = k8s_openapi::api::core::v1::PodSpec { containers, ..Default::default() };
    Pod { spec: Some(spec), ..Pod::default() }
}

/// The referee saw nothing that breaks a rule.
pub fn nothing_broken(world: &World) -> Result<(), String> {
    lock(&world.referee).broken.first().map_or(Ok(()), |broken| Err(broken.clone()))
}

/// What was acknowledged is there, or what was asked for after it.
pub async fn nothing_lost(world: &World, client: &Client) -> Result<(), String> {
    let found = pods(client).await?;
    for (name, (acknowledged, unanswered)) in &world.acknowledged {
        let Some(pod) = found.iter().find(|pod| pod.metadata.name.as_deref() == Some(name)) else {
            return Err(format!("{name} was acknowledged and is not there"));
        };
        let class = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
        if class != Some("Burstable") {
            return Err(format!("{name} was created Burstable, and is {class:?}"));
        }
        let mark = pod.metadata.annotations.as_ref().and_then(|it| it.get(MARK));
        if world.marked.contains(name) && mark.is_none() {
            return Err(format!("{name} was created without what a webhook had to write into it"));
        }
        let spec = pod.spec.as_ref().and_then(|spec| spec.containers.first()).and_then(|it| it.resources.as_ref());
        let spec = serde_json::to_value(spec).map_err(|error| error.to_string())?;
        if spec != *acknowledged && !unanswered.contains(&spec) {
            return Err(format!("{name} has {spec}; acknowledged was {acknowledged}, asked for since {unanswered:?}"));
        }
    }
    Ok(())
}

/// Every pod is where it was told to be, or says why not; the machine has what was promised, and it is said so.
pub async fn settled(world: &World, client: &Client) -> Result<(), String> {
    nothing_broken(world)?;
    nothing_overcommitted(world)?;
    nothing_lost(world, client).await?;
    let promised = promised(world)?;
    for pod in pods(client).await? {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let of = |what: &str, found: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            Err(format!("{name}: {what} is {found:?} and not {wanted:?}"))
        };
        if pod.metadata.deletion_timestamp.is_some() {
            return Err(format!("{name} is still being deleted"));
        }
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else {
            // It waits for room, which must really be missing: its requests and what is promised exceed the node.
            let wanted = Allocation::of(&pod).requests(&pod);
            let taken = promised.values().map(|it| it.requests(&shape(it)));
            let (cpu, memory) =
                taken.fold((0, 0), |(cpu, memory), it| (cpu + it.cpu_request.0, memory + it.memory_request.0));
            let full =
                cpu + wanted.cpu_request.0 > CAPACITY.cpu.0 || memory + wanted.memory_request.0 > CAPACITY.memory.0;
            // A deferred increase reserves its room at the scheduler, and a decrease that is not possible frees none.
            let reserved = |it: &Pod| {
                ["PodResizePending", "PodResizeInProgress"].map(|kind| condition(it, kind)).iter().any(Option::is_some)
            };
            if full || pods(client).await?.iter().any(reserved) {
                continue;
            }
            return Err(format!("{name} is not scheduled, and there is room"));
        };
        if node != "node" {
            return of("its node", &node, &"node");
        }
        let status = pod.status.clone().unwrap_or_default();
        if status.phase.as_deref() == Some("Failed") {
            continue;
        }
        let Some(allocation) = pod.metadata.uid.as_ref().and_then(|uid| promised.get(uid)) else {
            return Err(format!("{name} was promised nothing"));
        };
        let spec = Allocation::of(&pod);
        match condition(&pod, "PodResizePending") {
            Some((reason, _)) if reason != "Deferred" && reason != "Infeasible" => {
                return of("the reason of its pending resize", &reason, &"Deferred or Infeasible");
            }
            Some((reason, _)) if spec.same_as(allocation) => {
                return of("its resize", &reason, &"over: it was promised what it asks for");
            }
            None if !spec.same_as(allocation) => return of("its promise", allocation, &spec),
            _ => {}
        }
        // Below what it holds: it must not come into force, and says so for as long as it is asked for.
        if let Some((reason, message)) = condition(&pod, "PodResizeInProgress") {
            if reason == "Error" && message.contains("below current usage") {
                continue;
            }
            return Err(format!("{name} is still being resized: {reason} {message}"));
        }
        let amounts = allocation.requests(&pod);
        if amounts.memory_limit < HELD {
            // It began with less than it holds, and dies of it again and again.
            continue;
        }
        let Some(container) = status.container_statuses.iter().flatten().next() else {
            return Err(format!("{name} says nothing of its container"));
        };
        if container.state.as_ref().is_none_or(|state| state.running.is_none()) {
            return of("its state", &container.state, &"running");
        }
        let view = allocation.applied_to(&pod);
        let amounts = actuate::container_amounts(&view, "app").ok_or("a container is called app")?;
        let wanted = CgroupResources::of(&amounts, DEFAULT_PERIOD_US);
        let found = world.runtime.recover().await.map_err(|error| error.to_string())?;
        let found = found.into_iter().find(|it| Some(&it.pod.uid) == pod.metadata.uid.as_ref());
        let Some(found) = found else { return Err(format!("{name} is not on the machine")) };
        let Some((id, _)) = found.containers.first() else { return Err(format!("{name} has no container")) };
        let has = world.runtime.read_container(id).await.map_err(|error| error.to_string())?;
        if has != wanted {
            return of("its container's cgroup", &has, &wanted);
        }
        let wanted = CgroupResources::of(&actuate::pod_amounts(&view), DEFAULT_PERIOD_US);
        let has = world.runtime.read_pod(&found.pod).await.map_err(|error| error.to_string())?;
        if has != wanted {
            return of("its cgroup", &has, &wanted);
        }
        let said = container.allocated_resources.clone();
        let requests = allocation.containers.get("app").and_then(|it| it.requests.clone());
        if said != requests {
            return of("what its status calls allocated", &said, &requests);
        }
    }
    Ok(())
}

/// Reason and message of a condition that is true.
fn condition(pod: &Pod, kind: &str) -> Option<(String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|it| it.type_ == kind && it.status == "True")?;
    Some((found.reason.clone().unwrap_or_default(), found.message.clone().unwrap_or_default()))
}
