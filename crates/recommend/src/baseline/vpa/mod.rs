//! The Vertical Pod Autoscaler, version 1.7.1: its recommender ([`model`]) and what its updater makes of it.

mod histogram;
pub mod model;

use std::collections::BTreeMap;

use supple_quantity::{Bytes, MilliCpu};

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
    pods: BTreeMap<Pod, Life>,
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
        self.pods.entry(pod).or_insert(new);
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
        if let Some(life) = self.pods.get_mut(&pod) {
            life.killed_quickly = kill.time - life.container < QUICK_KILL;
            life.container = kill.time;
        }
    }

    fn size(&mut self, pod: Pod, now: i64, in_force: &Size) -> Size {
        let (cpu, memory) = self.estimate();
        let target = Size {
            cpu_request: Some(MilliCpu(cpu.target)),
            cpu_limit: None,
            memory_request: Some(Bytes(memory.target)),
            memory_limit: Some(Bytes(memory.target)),
        };
        let (Some(has_cpu), Some(has_memory)) = (in_force.cpu_request, in_force.memory_request) else {
            return target; // a missing request is out of bounds
        };
        let outside = |has: i64, it: &Estimate| has < it.lower || has > it.upper;
        let part = |has: i64, wanted: i64| amount((has - wanted).abs()) / amount(has.max(1));
        let difference = part(has_cpu.0, cpu.target) + part(has_memory.0, memory.target);
        let life = self.pods.get(&pod);
        let old = life.is_some_and(|it| now >= it.pod + LIFETIME) && difference >= 0.1;
        let quick = life.is_some_and(|it| it.killed_quickly) && difference > 0.0;
        let accepted = outside(has_cpu.0, &cpu) || outside(has_memory.0, &memory) || old || quick;
        if accepted { target } else { *in_force }
    }
}
