//! From allocated to actuated: makes the plan, checks it against usage, carries it out step by step, and records each.

use std::collections::BTreeMap;

use supple_resize::actuate::{self, Plan, Situation, Step, Target};
use supple_resize::event;
use supple_resize::guard::{self, MemoryUsage};
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};

use super::runs::Run;
use super::{Report, Worker};
use crate::runtime::RuntimeError;

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
        let running = |name: &str| state.containers.get(name).is_some_and(super::runs::Container::is_running);
        actuate::in_progress(&state.view, &state.actuated, running)
            || state.actuated.pod != Some(actuate::pod_amounts(&state.view))
    }

    /// Try to make the cgroups what was promised.
    pub(super) async fn resize(&mut self) {
        let generation = self.state.resize.in_progress.as_ref().and_then(|it| it.generation);
        if self.state.promise.is_none() {
            self.state.resize.proceed(self.state.api.metadata.generation, self.shared.now());
        }
        match self.actuate().await {
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
        let mut recorded = None;
        for step in &plan.steps {
            if plan
                .decreases
                .iter()
                .any(|it| it.target == step.target && step.write.memory_limit_bytes == Some(it.to.0))
            {
                guard::check_step(&plan, step, &self.memory_usage().await)?;
            }
            let carried_out = self.carry_out(step).await;
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
        if let Some(recorded) = recorded {
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
        let unreadable = |error: RuntimeError| tracing::warn!(%error, "a cgroup cannot be read");
        match self.shared.runtime.read_pod(&self.id).await {
            Ok(reading) => self.state.actuated.adopt(&self.state.view, &Target::Pod, &reading),
            Err(error) => unreadable(error),
        }
        let running = self.state.containers.iter().filter_map(|(name, container)| match container.run {
            Some(Run::Running { attempt, .. }) => Some((name.clone(), attempt)),
            _ => None,
        });
        for (name, attempt) in running.collect::<Vec<_>>() {
            match self.shared.runtime.read_container(&self.container_ref(&name, attempt)).await {
                Ok(reading) => self.state.actuated.adopt(&self.state.view, &Target::Container(name), &reading),
                Err(error) => unreadable(error),
            }
        }
    }

    /// One write. Returns whether its target was there.
    async fn carry_out(&mut self, step: &Step) -> Result<bool, RuntimeError> {
        if step.write.is_empty() {
            return Ok(true);
        }
        let name = match &step.target {
            Target::Pod => {
                self.shared.runtime.update_pod(&self.id, &step.write).await?;
                return Ok(true);
            }
            Target::Container(name) => name,
        };
        let Some(Run::Running { attempt, .. }) = self.state.containers.get(name).and_then(|it| it.run.as_ref()) else {
            return Ok(false);
        };
        let id = self.container_ref(name, *attempt);
        let written = self.shared.runtime.update_container(&id, &step.write).await;
        if written.is_err() {
            while let Ok(command) = self.inbox.try_recv() {
                self.take(command);
            }
            if !self.state.containers.get(name).is_some_and(super::runs::Container::is_running) {
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
