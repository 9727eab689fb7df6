//! The order of a plan: what each running container and the pod's own cgroup need, and which comes first.

use std::cmp::{Ordering, Reverse};

use k8s_openapi::api::core::v1::Container;
use supple_quantity::{Bytes, MilliCpu};

use super::{Decrease, Plan, Situation, Step, Target, amounts_of, pod_amounts};
use crate::allocate::restarts_for;
use crate::amounts::{Amounts, Requirement, Resource, containers};
use crate::kernel::{self, CgroupResources};

/// The plan from a situation.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut updates = Vec::new();
    for container in containers(situation.pod) {
        let Some(reading) = situation.running.get(&container.name) else { continue };
        let update = Update::of(situation, container, reading);
        match update.restarts(container) {
            Some(true) => plan.restart.push(container.name.clone()),
            Some(false) => updates.push(update),
            None => {}
        }
    }
    // Memory first: where one of the two fails, the one that kills when it is short has been done.
    for resource in [Resource::Memory, Resource::Cpu] {
        let pod = PodChange::of(situation, resource);
        let in_order = |it: &&Update<'_>| Reverse(it.shrinks(resource));
        let mut containers: Vec<_> = updates.iter().filter(|it| it.changes(resource)).collect();
        containers.sort_by_key(in_order);
        plan.steps.extend(pod.before());
        plan.steps.extend(containers.iter().map(|it| it.step(resource, situation.period_us)));
        plan.steps.extend(pod.after());
        if resource == Resource::Memory {
            // The pod's first, as the guard reports them.
            plan.decreases.extend(pod.decrease());
            plan.decreases.extend(containers.iter().filter_map(|it| it.decrease()));
        }
    }
    plan
}

/// One running container: what it was given and what it is to have.
struct Update<'a> {
    name: &'a str,
    old: Amounts,
    new: Amounts,
    reading: &'a CgroupResources,
}

impl<'a> Update<'a> {
    fn of(situation: &Situation<'a>, container: &'a Container, reading: &'a CgroupResources) -> Self {
        // No record is the same as a record of zeros: the container is brought to its amounts.
        let old = situation.actuated.containers.get(&container.name).copied().unwrap_or_default();
        Self { name: &container.name, old, new: amounts_of(situation.pod, container), reading }
    }

    fn changes(&self, resource: Resource) -> bool {
        !self.old.same(&self.new, resource)
    }

    /// Whether the container is to be restarted (else updated in place); `None`: nothing changes. A request alone counts,
    /// also that of memory, which no cgroup file holds.
    fn restarts(&self, container: &Container) -> Option<bool> {
        let changed = || [Resource::Memory, Resource::Cpu].into_iter().filter(|&it| self.changes(it));
        changed().next()?;
        Some(changed().any(|it| restarts_for(container, it)))
    }

    /// The direction of a change: of the limit where it changes, else of the request.
    fn shrinks(&self, resource: Resource) -> bool {
        let limit = |it: &Amounts| or_infinite(it.get(resource, Requirement::Limit));
        let request = |it: &Amounts| it.get(resource, Requirement::Request);
        match limit(&self.new).cmp(&limit(&self.old)) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => request(&self.new) < request(&self.old),
        }
    }

    fn step(&self, resource: Resource, period_us: u64) -> Step {
        let all = CgroupResources::of(&self.new, period_us);
        let write = match resource {
            Resource::Memory => CgroupResources {
                memory_limit_bytes: all.memory_limit_bytes.filter(|_| self.old.memory_limit != self.new.memory_limit),
                // A container without a CPU request starts with shares that follow its limit and loses them at its
                // first update of any kind (see `CgroupResources::at_start`).
                cpu_shares: all.cpu_shares.filter(|_| self.new.cpu_request.0 == 0 && self.old.cpu_limit.0 != 0),
                ..CgroupResources::default()
            },
            Resource::Cpu => CgroupResources { memory_limit_bytes: None, ..all },
        };
        Step {
            target: Target::Container(self.name.to_owned()),
            resource,
            write,
            request: Some(self.new.get(resource, Requirement::Request)),
            limit: Some(self.new.get(resource, Requirement::Limit)),
        }
    }

    /// Its memory limit is added or lowered, by the record or by what the cgroup has (which is ahead of the record after
    /// a crash between the two).
    fn decrease(&self) -> Option<Decrease> {
        let to = self.new.memory_limit;
        let by_record = or_infinite(to.0) < or_infinite(self.old.memory_limit.0);
        let by_reading = self.reading.memory_limit_bytes.is_some_and(|it| or_infinite(to.0) < or_infinite(it));
        (by_record || by_reading).then(|| Decrease { target: Target::Container(self.name.to_owned()), to })
    }
}

/// What happens to one resource of the pod's own cgroup: its limit and its request each go up before the containers or
/// down after them.
struct PodChange {
    resource: Resource,
    period_us: u64,
    /// What the record is to say.
    target: Amounts,
    /// Whether the record says something else.
    recorded: Amounts,
    limit: Ordering,
    request: Ordering,
}

impl PodChange {
    fn of(situation: &Situation<'_>, resource: Resource) -> Self {
        let target = pod_amounts(situation.pod);
        let recorded = situation.actuated.pod.unwrap_or_default();
        let old = CgroupResources::of(&recorded, situation.period_us);
        let new = CgroupResources::of(&target, situation.period_us);
        let now = &situation.cgroup;
        let bound = target.get(resource, Requirement::Limit) != 0;
        let limit = match resource {
            // Nothing binds the pod as a whole (some container has no limit): its limit stays as it is. Limits cannot be
            // removed (kubernetes/kubernetes#128675), so it never had one of its own either.
            _ if !bound => Ordering::Equal,
            Resource::Memory => {
                let now = now.memory_limit_bytes.or(old.memory_limit_bytes).unwrap_or(kernel::UNLIMITED);
                target.memory_limit.0.cmp(&or_infinite(exact_memory(now, recorded.memory_limit)))
            }
            Resource::Cpu => {
                let quota = now.cpu_quota_us.or(old.cpu_quota_us).unwrap_or(kernel::UNLIMITED);
                let period = now.cpu_period_us.unwrap_or(situation.period_us);
                let wanted = i128::from(new.cpu_quota_us.unwrap_or(kernel::UNLIMITED)) * i128::from(period);
                let now = i128::from(or_infinite(quota)) * i128::from(situation.period_us);
                wanted.cmp(&now)
            }
        };
        let request = match resource {
            Resource::Memory => Ordering::Equal, // no file holds a memory request
            Resource::Cpu => {
                let now = now.cpu_shares.map_or(old.cpu_shares, |it| Some(exact_shares(it, recorded.cpu_request)));
                new.cpu_shares.cmp(&now)
            }
        };
        Self { resource, period_us: situation.period_us, target, recorded, limit, request }
    }

    /// Limit first, so that the request has room.
    fn before(&self) -> impl Iterator<Item = Step> {
        let limit = (self.limit == Ordering::Greater).then(|| self.step(Requirement::Limit));
        let request = (self.request == Ordering::Greater).then(|| self.step(Requirement::Request));
        limit.into_iter().chain(request)
    }

    /// Request first, so that the limit never passes it. What has no file, or has its value already, is only recorded.
    fn after(&self) -> impl Iterator<Item = Step> {
        let unrecorded = |it| self.recorded.get(self.resource, it) != self.target.get(self.resource, it);
        let step = |requirement, order| match order {
            Ordering::Less => Some(self.step(requirement)),
            Ordering::Equal if unrecorded(requirement) => {
                Some(Step { write: CgroupResources::default(), ..self.step(requirement) })
            }
            _ => None,
        };
        let request = step(Requirement::Request, self.request);
        let limit = step(Requirement::Limit, self.limit);
        request.into_iter().chain(limit)
    }

    fn step(&self, requirement: Requirement) -> Step {
        let all = CgroupResources::of(&self.target, self.period_us);
        let nothing = CgroupResources::default();
        let write = match (self.resource, requirement) {
            (Resource::Memory, Requirement::Limit) => {
                CgroupResources { memory_limit_bytes: all.memory_limit_bytes, ..nothing }
            }
            (Resource::Memory, Requirement::Request) => nothing,
            (Resource::Cpu, Requirement::Limit) => {
                CgroupResources { cpu_quota_us: all.cpu_quota_us, cpu_period_us: all.cpu_period_us, ..nothing }
            }
            (Resource::Cpu, Requirement::Request) => CgroupResources { cpu_shares: all.cpu_shares, ..nothing },
        };
        let amount = |it| (it == requirement).then(|| self.target.get(self.resource, it));
        Step {
            target: Target::Pod,
            resource: self.resource,
            write,
            request: amount(Requirement::Request),
            limit: amount(Requirement::Limit),
        }
    }

    fn decrease(&self) -> Option<Decrease> {
        (self.limit == Ordering::Less).then_some(Decrease { target: Target::Pod, to: self.target.memory_limit })
    }
}

/// A limit for comparison: none at all (zero in a spec, -1 in a cgroup) is above every limit.
const fn or_infinite(limit: i64) -> i64 {
    if limit <= 0 { i64::MAX } else { limit }
}

/// The memory limit of a cgroup that was given `limit`, from a reading that is in whole pages.
fn exact_memory(reading: i64, limit: Bytes) -> i64 {
    if kernel::whole_pages(limit) == reading { limit.0 } else { reading }
}

/// The shares of a cgroup that was given `request`, from a reading that cgroup v2 may have coarsened: where the reading
/// is what a weight leaves of the recorded shares, the recorded ones are meant.
fn exact_shares(reading: u64, request: MilliCpu) -> u64 {
    let recorded = kernel::shares(request);
    if kernel::is_reading_of(reading, recorded) { recorded } else { reading }
}
