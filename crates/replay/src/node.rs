//! The model node: pods of one container, sized and resized by the rules of `supple-resize` and by nothing else.
//!
//! A resize passes through [`predict`], the same function that tells a person what would happen: the API's half may refuse
//! it, the node's half may put it off, find it impossible or restart the container.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, ContainerResizePolicy, ContainerState, ContainerStateRunning, ContainerStatus, Node as NodeObjectOfApi,
    NodeStatus, Pod, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use supple_quantity::{Bytes, MilliCpu, Quantity};
use supple_recommend::resource::Resource;
use supple_recommend::sample::Size;
use supple_resize::allocate::{self, Allocation, Capacity, NodeView, Shortage, Used};
use supple_resize::guard::MemoryUsage;
use supple_resize::predict::{Change, NamespaceSight, NodeObject, NodeSight, Reason, Sizes, predict};
use supple_resize::queue::{Waiting, is_increasing};
use supple_resize::resources::ResourceList;
use supple_resize::{defaults, qos};

/// The container's name on the model node; recorded names may be anything.
const CONTAINER: &str = "main";

/// A pod, numbered by the caller.
pub type Id = u32;

/// What came of a resize, or of another try of one that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod has these sizes already.
    Nothing,
    /// Done; whether the container was restarted for it.
    Done {
        /// Its resize policy asked for it.
        restarted: bool,
    },
    /// It waits: the node has no room now.
    NoRoom,
    /// It waits: a memory limit would go to or below what is used.
    InUse,
    /// The API or the node will never do it.
    Infeasible(Reason),
}

/// One node.
#[derive(Debug)]
pub struct Node {
    view: NodeView,
    object: Option<Box<NodeObjectOfApi>>,
    used: Used,
    pods: BTreeMap<Id, Placed>,
    queue: BTreeSet<(Waiting, Id)>,
    /// Something changed since the waiting ones were last tried.
    changed: bool,
}

#[derive(Debug)]
struct Placed {
    pod: Pod,
    pending: Option<(Change, Waiting)>,
}

impl Node {
    /// A node that offers so much; what is `None` has no bound.
    pub fn new(cpu: Option<MilliCpu>, memory: Option<Bytes>, pods: Option<u32>) -> Self {
        let allocatable = Capacity {
            cpu: cpu.unwrap_or(MilliCpu(i64::MAX)),
            memory: memory.unwrap_or(Bytes(i64::MAX)),
            pods: pods.unwrap_or(u32::MAX),
        };
        // The API refuses what is more than the whole node, where it knows the node.
        let object = (cpu.is_some() || memory.is_some() || pods.is_some()).then(|| {
            let mut list = ResourceList::default();
            list.set("cpu", Quantity::milli_units(allocatable.cpu.0));
            list.set("memory", Quantity::binary(allocatable.memory.0));
            let status = NodeStatus {
                allocatable: Some(list.to_wire()),
                capacity: Some(list.to_wire()),
                ..NodeStatus::default()
            };
            Box::new(NodeObjectOfApi { status: Some(status), ..NodeObjectOfApi::default() })
        });
        let view = NodeView { allocatable, ..NodeView::default() };
        Self { view, object, used: Used::default(), pods: BTreeMap::new(), queue: BTreeSet::new(), changed: false }
    }

    /// Takes a new pod in.
    ///
    /// # Errors
    /// The first resource that does not fit.
    pub fn admit(&mut self, id: Id, size: &Size, restarts: [bool; 2]) -> Result<(), Shortage> {
        let pod = create(id, size, restarts);
        allocate::admit(&pod, &self.view, &self.used)?;
        self.used.add(&pod, &Allocation::of(&pod));
        self.pods.insert(id, Placed { pod, pending: None });
        Ok(())
    }

    /// Takes a pod away.
    pub fn remove(&mut self, id: Id) {
        if let Some(placed) = self.pods.remove(&id) {
            self.used = self.without(&placed.pod);
            self.changed = true;
            if let Some((_, waits)) = placed.pending {
                self.queue.remove(&(waits, id));
            }
        }
    }

    /// Asks for a size, in place of what the pod may be waiting for. `used`: the memory in use, in bytes.
    pub fn resize(&mut self, id: Id, size: &Size, used: Option<i64>, now: i64) -> Outcome {
        let change = Change::of_container(CONTAINER, sizes(size));
        self.withdraw(id);
        self.try_once(id, &change, used, now)
    }

    /// Tries what waits once more, in the order of the node's queue, if anything changed that could let it pass. `used`
    /// tells the memory in use. What came to pass is returned.
    pub fn retry(&mut self, now: i64, used: impl Fn(Id) -> Option<i64>) -> Vec<(Id, Outcome)> {
        let mut done = Vec::new();
        if !self.changed {
            return done;
        }
        self.changed = false;
        let waiting: Vec<Id> = self.queue.iter().map(|(_, id)| *id).collect();
        for id in waiting {
            let Some((change, waits)) = self.pods.get_mut(&id).and_then(|it| it.pending.take()) else { continue };
            self.queue.remove(&(waits.clone(), id));
            let since = waits.since.map_or(now, |it| it.as_second());
            let outcome = self.try_once(id, &change, used(id), since);
            if !matches!(outcome, Outcome::NoRoom | Outcome::InUse) {
                done.push((id, outcome));
            }
        }
        done
    }

    /// Memory in use fell somewhere: what waits for that is worth a try.
    pub const fn stir(&mut self) {
        self.changed = true;
    }

    /// Whether anything waits.
    pub fn waits(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What all pods hold.
    pub const fn used(&self) -> &Used {
        &self.used
    }

    /// Forgets what the pod waits for.
    pub fn withdraw(&mut self, id: Id) {
        if let Some((_, waits)) = self.pods.get_mut(&id).and_then(|it| it.pending.take()) {
            self.queue.remove(&(waits, id));
        }
    }

    fn try_once(&mut self, id: Id, change: &Change, used: Option<i64>, since: i64) -> Outcome {
        let Some(placed) = self.pods.get(&id) else { return Outcome::Nothing };
        let usage = used.map(|used| MemoryUsage {
            pod: Some(Bytes(used)),
            containers: BTreeMap::from([(CONTAINER.to_owned(), Bytes(used))]),
        });
        let sight = NodeSight {
            object: self.object.clone().map_or(NodeObject::Unknown, NodeObject::Present),
            view: self.view,
            others: Some(self.without(&placed.pod)),
        };
        let forecast = predict(&placed.pod, change, &sight, &NamespaceSight::default(), usage.as_ref());
        match forecast.obstacle.as_ref().map(|it| it.reason) {
            Some(Reason::NothingToDo) => Outcome::Nothing,
            Some(reason @ (Reason::Deferred | Reason::MemoryBelowUsage)) => {
                self.wait(id, change, since);
                if reason == Reason::Deferred { Outcome::NoRoom } else { Outcome::InUse }
            }
            Some(reason) => Outcome::Infeasible(reason),
            None => {
                let Ok(mut pod) = forecast.change.applied_to(&placed.pod) else { return Outcome::Nothing };
                report(&mut pod);
                let others = self.without(&placed.pod);
                let mut total = others;
                total.add(&pod, &Allocation::of(&pod));
                self.changed |= total.cpu < self.used.cpu || total.memory < self.used.memory;
                self.used = total;
                self.pods.insert(id, Placed { pod, pending: None });
                Outcome::Done { restarted: !forecast.restarts.is_empty() }
            }
        }
    }

    fn wait(&mut self, id: Id, change: &Change, since: i64) {
        let Some(placed) = self.pods.get_mut(&id) else { return };
        let Ok(desired) = change.applied_to(&placed.pod) else { return };
        let waits = Waiting {
            uid: uid(id),
            increasing: is_increasing(&desired, &Allocation::of(&placed.pod)),
            priority: 0,
            guaranteed: qos::recorded(&placed.pod) == qos::QosClass::Guaranteed,
            since: Timestamp::from_second(since).ok(),
        };
        placed.pending = Some((change.clone(), waits.clone()));
        self.queue.insert((waits, id));
    }

    /// What all but this pod hold.
    fn without(&self, pod: &Pod) -> Used {
        let own = allocate::held(pod, &Allocation::of(pod));
        Used {
            cpu: MilliCpu(self.used.cpu.0.saturating_sub(own.cpu_request.0)),
            memory: Bytes(self.used.memory.0.saturating_sub(own.memory_request.0)),
            pods: self.used.pods.saturating_sub(1),
        }
    }
}

/// Fixed width, so that names order as numbers do.
fn uid(id: Id) -> String {
    format!("{id:010}")
}

fn sizes(size: &Size) -> Sizes {
    Sizes {
        cpu_request: size.cpu_request.map(|it| Quantity::milli_units(it.0)),
        cpu_limit: size.cpu_limit.map(|it| Quantity::milli_units(it.0)),
        memory_request: size.memory_request.map(|it| Quantity::binary(it.0)),
        memory_limit: size.memory_limit.map(|it| Quantity::binary(it.0)),
    }
}

/// A running pod of this size. `restarts`: CPU, memory.
fn create(id: Id, size: &Size, restarts: [bool; 2]) -> Pod {
    let policy = |resource: Resource, restarts: bool| ContainerResizePolicy {
        resource_name: if resource == Resource::Cpu { "cpu" } else { "memory" }.to_owned(),
        restart_policy: if restarts { "RestartContainer" } else { "NotRequired" }.to_owned(),
    };
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some("recorded".to_owned()),
        resize_policy: Some(vec![policy(Resource::Cpu, restarts[0]), policy(Resource::Memory, restarts[1])]),
        ..Container::default()
    };
    let pod = Pod {
        metadata: ObjectMeta { name: Some(uid(id)), uid: Some(uid(id)), ..ObjectMeta::default() },
        spec: Some(PodSpec { containers: vec![container], node_name: Some("model".to_owned()), ..PodSpec::default() }),
        status: None,
    };
    // The container is there, so the change cannot fail; were it not, the pod would have no sizes.
    let mut pod = Change::of_container(CONTAINER, sizes(size)).applied_to(&pod).unwrap_or(pod);
    defaults::apply(&mut pod);
    report(&mut pod);
    pod
}

/// Says in the status what the spec says: it was allocated and carried out.
fn report(pod: &mut Pod) {
    let resources = pod.spec.as_ref().and_then(|it| it.containers.first()).and_then(|it| it.resources.clone());
    let class = qos::recorded(pod).as_str().to_owned();
    let status = ContainerStatus {
        name: CONTAINER.to_owned(),
        allocated_resources: resources.as_ref().and_then(|it| it.requests.clone()),
        resources,
        state: Some(ContainerState { running: Some(ContainerStateRunning::default()), ..ContainerState::default() }),
        ..ContainerStatus::default()
    };
    pod.status = Some(PodStatus {
        phase: Some("Running".to_owned()),
        qos_class: Some(class),
        container_statuses: Some(vec![status]),
        ..PodStatus::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn size(cpu: i64, memory: i64) -> Size {
        Size {
            cpu_request: Some(MilliCpu(cpu)),
            cpu_limit: None,
            memory_request: Some(Bytes(memory * MIB)),
            memory_limit: Some(Bytes(memory * MIB)),
        }
    }

    /// Two pods of 1 core and 1 GiB on a node of 4 cores and 4 GiB.
    fn node(restarts: [bool; 2]) -> Node {
        let mut node = Node::new(Some(MilliCpu(4000)), Some(Bytes(4096 * MIB)), Some(10));
        node.admit(0, &size(1000, 1024), restarts).unwrap();
        node.admit(1, &size(1000, 1024), restarts).unwrap();
        node
    }

    #[track_caller]
    fn check(wanted: Size, used: i64, restarts: [bool; 2], outcome: Outcome) {
        let mut node = node(restarts);
        assert_eq!(node.resize(0, &wanted, Some(used * MIB), 60), outcome, "{wanted:?}");
    }

    #[test]
    fn a_resize_is_done_waits_restarts_or_cannot_be() {
        let keep = [false, false];
        check(size(1000, 1024), 100, keep, Outcome::Nothing);
        check(size(3000, 3000), 100, keep, Outcome::Done { restarted: false });
        check(size(3001, 1024), 100, keep, Outcome::NoRoom);
        check(size(4001, 1024), 100, keep, Outcome::Infeasible(Reason::NodeCapacity));
        check(size(1000, 512), 600, keep, Outcome::InUse);
        check(size(1000, 512), 400, keep, Outcome::Done { restarted: false });
        check(size(1000, 512), 400, [false, true], Outcome::Done { restarted: true });
        let guaranteed = Size { cpu_limit: Some(MilliCpu(1000)), ..size(1000, 1024) };
        check(guaranteed, 100, keep, Outcome::Infeasible(Reason::QosChange));
    }

    #[test]
    fn what_waits_is_tried_when_room_comes_free() {
        let mut node = node([false, false]);
        assert_eq!(node.resize(0, &size(3500, 1024), None, 60), Outcome::NoRoom);
        assert!(node.waits() && node.retry(240, |_| None).is_empty(), "nothing changed");
        assert_eq!(node.resize(1, &size(500, 1024), None, 300), Outcome::Done { restarted: false });
        assert_eq!(node.retry(301, |_| None), vec![(0, Outcome::Done { restarted: false })]);
        assert!(!node.waits());
        assert_eq!((node.used().cpu, node.used().memory), (MilliCpu(4000), Bytes(2048 * MIB)));
    }

    #[test]
    fn a_full_node_takes_no_pod_and_a_removed_one_leaves_room() {
        let mut node = node([false, false]);
        assert!(node.admit(2, &size(2001, 1), [false, false]).is_err());
        node.remove(1);
        assert!(node.admit(2, &size(2001, 1), [false, false]).is_ok());
        assert_eq!(node.used().pods, 2);
    }
}
