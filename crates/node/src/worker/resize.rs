//! From allocated to actuated: makes the plan, checks it against usage, carries it out step by step, and records each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use supple_resize::actuate::{self, Plan, Situation, Target};
use supple_resize::event;
use supple_resize::guard::{self, MemoryUsage};
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::memory_qos::MemoryTiers;
use supple_resize::qos;

use super::runs::Run;
use super::{Report, Worker};
use crate::runtime::{ContainerRef, RuntimeError};

/// Why an attempt ended early. The display is the message of the condition and the event.
#[derive(Debug, thiserror::Error)]
enum ActuateError {
    /// Memory would be cut below what is used.
    #[error(transparent)]
    BelowUsage(#[from] guard::BelowUsage),
    /// The machine refused.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// It is done, but the disk did not take the record of it.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
}

impl Worker {
    /// Whether the cgroups are not what was promised. No IO: this is asked at every turn.
    pub(super) fn needs_resize(&self) -> bool {
        let state = &self.state;
        let running = |name: &str| state.containers.get(name).is_some_and(|it| it.is_running());
        actuate::in_progress(&state.view, &state.actuated, running)
            || state.actuated.pod != Some(actuate::pod_amounts(&state.view))
    }

    /// Try to make the cgroups what was promised.
    pub(super) async fn resize(&mut self) {
        let generation = self.state.resize.in_progress.as_ref().and_then(|it| it.generation);
        if self.state.promise.is_none() {
            self.state.resize.proceed(self.state.api.metadata.generation, self.shared.now());
        }
        let began = self.shared.now();
        let result = self.actuate().await;
        let took = self.shared.now().duration_since(began).max(SignedDuration::ZERO).unsigned_abs();
        self.shared.figures.actuated(result.is_ok(), took);
        match result {
            Ok(()) => {
                self.state.backoff.reset();
                self.state.retry_at = None;
            }
            Err(error) => self.failed(error.to_string(), generation),
        }
        if let Some(amounts) = self.state.actuated.pod {
            // The manager may be gone already when the node is being stopped.
            let _ = self.shared.reports.send(Report::Actuated(self.id.uid.clone(), amounts));
        }
    }

    async fn actuate(&mut self) -> Result<(), ActuateError> {
        let cgroup = self.shared.runtime.read_pod(&self.id).await?;
        let state = &self.state;
        // The plan goes by the record of what was actuated, so readings of containers would change nothing in it.
        let running: BTreeMap<String, CgroupResources> = state
            .containers
            .iter()
            .filter(|(_, container)| container.is_running())
            .map(|(name, _)| (name.clone(), CgroupResources::default()))
            .collect();
        let plan = actuate::plan(&Situation {
            pod: &state.view,
            actuated: &state.actuated,
            running: &running,
            cgroup,
            period_us: DEFAULT_PERIOD_US,
        });
        if !plan.decreases.is_empty() {
            guard::check(&plan, &self.memory_usage().await)?;
        }
        self.stop_for_restart(&plan).await?;
        let ahead = self.shared.memory_qos.ahead(&self.state.view, self.state.actuated.pod);
        if let Some(tiers) = ahead {
            self.shared.runtime.update_pod(&self.id, &CgroupResources::default().tiered(tiers)).await?;
        }
        let mut recorded = None;
        for step in &plan.steps {
            if plan
                .decreases
                .iter()
                .any(|it| it.target == step.target && step.write.memory_limit_bytes == Some(it.to.0))
            {
                guard::check_step(&plan, step, &self.memory_usage().await)?;
            }
            let mut write = self.shared.memory_qos.complete(step, &self.state.view, self.shared.capacity.memory);
            if ahead.is_some() && step.target == Target::Pod {
                write.tiers = MemoryTiers::default(); // written above
            }
            let carried_out = self.carry_out(&step.target, write).await;
            self.state.unsure |= carried_out.is_err();
            if !carried_out? {
                // The container has ended meanwhile: what is left is planned anew without it.
                break;
            }
            self.state.actuated.record(step);
            // Not waited for between steps: a record that is lost is written into the kernel once more, which changes
            // nothing. The last one is waited for, because completion is told to others.
            recorded = Some(self.write_actuated());
        }
        if let Some(mut recorded) = recorded {
            // What was written is one thing and what the kernel holds another: status tells the latter.
            let before = self.state.actuated.clone();
            let written: BTreeSet<&Target> = plan.steps.iter().map(|it| &it.target).collect();
            for target in written {
                self.look_at(target).await;
            }
            if self.state.actuated != before {
                recorded = self.write_actuated();
            }
            recorded.durable().await?;
        }
        if plan.is_empty() {
            // Nothing to write, and still it is not what it should be: only the record of the pod's cgroup is behind.
            self.state.actuated.pod_created(actuate::pod_amounts(&self.state.view));
        }
        Ok(())
    }

    /// See what the cgroups really have, and believe that over the record. What cannot be read stays as recorded.
    pub(super) async fn look(&mut self) {
        let running = self.state.containers.iter().filter(|(_, container)| container.is_running());
        let containers = running.map(|(name, _)| Target::Container(name.clone()));
        for target in std::iter::once(Target::Pod).chain(containers).collect::<Vec<_>>() {
            if let Some(reading) = self.look_at(&target).await {
                self.tier(&target, &reading).await;
            }
        }
    }

    /// Read one cgroup and believe it over the record; returns the reading.
    async fn look_at(&mut self, target: &Target) -> Option<CgroupResources> {
        let reading = match target {
            Target::Pod => self.shared.runtime.read_pod(&self.id).await,
            Target::Container(name) => {
                let id = self.running(name)?;
                self.shared.runtime.read_container(&id).await
            }
        };
        match reading {
            Ok(reading) => {
                self.state.actuated.adopt(&self.state.view, target, &reading);
                Some(reading)
            }
            Err(error) => {
                tracing::warn!(pod = self.id.name, namespace = self.id.namespace, %error, "a cgroup cannot be read");
                None
            }
        }
    }

    /// Bring what an earlier node protected and slowed down to what this one is asked for; it may have been asked for
    /// something else.
    async fn tier(&mut self, target: &Target, reading: &CgroupResources) {
        if reading.tiers.is_empty() {
            return; // there are none here
        }
        let (qos, memory) = (self.shared.memory_qos, self.shared.capacity.memory);
        let class = qos::recorded(&self.state.view);
        let wanted = match target {
            Target::Pod => qos.of_pod(class, &actuate::pod_amounts(&self.state.view)),
            Target::Container(name) => {
                let amounts = actuate::container_amounts(&self.state.view, name).unwrap_or_default();
                qos.of_container(class, &amounts, memory)
            }
        };
        let write = CgroupResources::default().tiered(reading.tiers.missing_from(&MemoryTiers::NONE.with(&wanted)));
        if write.is_empty() {
            return;
        }
        let written = match target {
            Target::Pod => self.shared.runtime.update_pod(&self.id, &write).await,
            Target::Container(name) => match self.running(name) {
                Some(id) => self.shared.runtime.update_container(&id, &write).await,
                None => Ok(()),
            },
        };
        if let Err(error) = written {
            tracing::warn!(pod = self.id.name, namespace = self.id.namespace, %error, "memory QoS cannot be written");
        }
    }

    /// The run of a container that runs.
    fn running(&self, name: &str) -> Option<ContainerRef> {
        match self.state.containers.get(name).and_then(|it| it.run.as_ref()) {
            Some(Run::Running { attempt, .. }) => Some(self.container_ref(name, *attempt)),
            _ => None,
        }
    }

    /// One write. Returns whether its target was there.
    async fn carry_out(&mut self, target: &Target, write: CgroupResources) -> Result<bool, RuntimeError> {
        if write.is_empty() {
            return Ok(true);
        }
        let name = match target {
            Target::Pod => {
                self.shared.runtime.update_pod(&self.id, &write).await?;
                return Ok(true);
            }
            Target::Container(name) => name,
        };
        let Some(id) = self.running(name) else { return Ok(false) };
        let written = self.shared.runtime.update_container(&id, &write).await;
        if written.is_err() {
            while let Some(command) = self.inbox.next() {
                self.take(command);
            }
            if !self.state.containers.get(name).is_some_and(|it| it.is_running()) {
                return Ok(false);
            }
        }
        written.map(|()| true)
    }

    async fn stop_for_restart(&mut self, plan: &Plan) -> Result<(), RuntimeError> {
        if plan.restart.is_empty() {
            return Ok(());
        }
        for name in &plan.restart {
            self.resize_event(event::killing(name));
            if let Some(container) = self.state.containers.get_mut(name) {
                // Before it is stopped: the end that follows is no crash.
                container.restart_now = true;
            }
        }
        self.stop_containers(&plan.restart).await
    }

    /// Memory charged now. What cannot be read is not known, and then no limit goes down.
    async fn memory_usage(&self) -> MemoryUsage {
        match self.shared.runtime.usage(&self.id).await {
            Ok(usage) => MemoryUsage {
                pod: Some(usage.memory_usage),
                containers: usage.containers.into_iter().map(|it| (it.container, it.memory_usage)).collect(),
            },
            Err(error) => {
                tracing::warn!(pod = self.id.name, namespace = self.id.namespace, %error, "usage cannot be read");
                MemoryUsage::default()
            }
        }
    }

    /// Everything is as promised: a resize that was in progress is complete.
    pub(super) fn complete(&mut self) {
        if self.state.promise.is_some() || self.state.resize.in_progress.is_none() || self.needs_resize() {
            return;
        }
        if let Some(generation) = self.state.resize.complete() {
            self.resize_event(event::completed(&self.state.view, generation.unwrap_or_default()));
            // Not waited for: should it be lost, the next node finds nothing to do and completes it once more.
            let _ = self.write_allocated();
        }
    }
}
