//! The Vertical Pod Autoscaler, version 1.7.1: its recommender ([`model`]) and what its updater makes of it.

mod histogram;
pub mod model;

use supple_quantity::{Bytes, MilliCpu};

use crate::pods::Pods;
use crate::sample::{OutOfMemory, Sample, Size, amount, believable};
use crate::strategy::{Pod, Strategy};
use model::{Estimate, Model};

/// The updater leaves a pod younger than this alone unless it is out of bounds.
const LIFETIME: i64 = 12 * 3600;

/// A kill within this time after the start makes any difference worth a change.
const QUICK_KILL: i64 = 600;

/// Recommender and updater of one container that is alone in its pod.
#[derive(Debug, Default)]
pub struct Vpa {
    model: Model,
    pods: Pods<Option<Life>>,
}

/// What the updater knows of a pod.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// Start of the pod; a resize in place does not move it.
    pod: i64,
    container: i64,
    killed_quickly: bool,
}

impl Vpa {
    /// The estimates for CPU and memory.
    pub fn estimate(&self) -> (Estimate, Estimate) {
        self.model.estimate(1)
    }
}

impl Strategy for Vpa {
    fn observe(&mut self, pod: Pod, sample: &Sample) {
        let new = Life { pod: sample.time, container: sample.time, killed_quickly: false };
        self.pods.of(pod).get_or_insert(new);
        if let Some(cpu) = sample.cpu.filter(|it| believable(*it)) {
            self.model.cpu(pod, sample.time, cpu);
        }
        if let Some(memory) = sample.memory.filter(|it| believable(*it)) {
            self.model.memory(pod, sample.time, memory);
        }
    }

    fn out_of_memory(&mut self, pod: Pod, kill: &OutOfMemory) {
        // The reference takes the request, never the limit that was hit.
        let request = kill.request.or(kill.limit).map_or(0.0, |it| amount(it.0));
        self.model.out_of_memory(pod, kill.time, request);
        if let Some(life) = self.pods.of(pod) {
            life.killed_quickly = kill.time - life.container < QUICK_KILL;
            life.container = kill.time;
        }
    }

    fn size(&mut self, pod: Pod, now: i64, in_force: &Size) -> Size {
        let has = in_force.cpu_request.zip(in_force.memory_request).map(|(cpu, memory)| (cpu.0, memory.0));
        let ((cpu, memory), outside) = self.model.targets(1, has.unwrap_or_default());
        let target = Size {
            cpu_request: Some(MilliCpu(cpu)),
            cpu_limit: None,
            memory_request: Some(Bytes(memory)),
            memory_limit: Some(Bytes(memory)),
        };
        let Some(has) = has else {
            return target; // a missing request is out of bounds
        };
        let part = |has: i64, wanted: i64| amount((has - wanted).abs()) / amount(has.max(1));
        let difference = if has == (cpu, memory) { 0.0 } else { part(has.0, cpu) + part(has.1, memory) };
        let life = self.pods.get(pod).copied().flatten();
        let old = life.is_some_and(|it| now >= it.pod + LIFETIME) && difference >= 0.1;
        let quick = life.is_some_and(|it| it.killed_quickly) && difference > 0.0;
        if outside || old || quick { target } else { *in_force }
    }
}
