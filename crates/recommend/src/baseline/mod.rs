//! What others do, behind the same trait, so that a comparison is fair: the same samples, the same moments, the same judge.
//!
//! | name | what it is | when it changes a size |
//! |---|---|---|
//! | `vpa` | Vertical Pod Autoscaler 1.7.1's recommender and updater | outside its bounds, or 10 % off after 12 h of pod life |
//! | `krr` | Robusta KRR's simple strategy: CPU p95, memory maximum + 15 %, of each pod's 14 days, the highest | once a day |
//! | `p95` | 95th percentile + 15 % of both over 14 days | hourly, when 10 % off |
//! | `autopilot` | Google Autopilot's moving window | when 10 % off |
//! | `newsvendor` | least expected cost over what was lately seen (half-life 6 h), + 10 % | when 10 % off |
//! | `static` | the limits that were recorded | never |
//! | `none` | nothing reserved, nothing enforced | never |

pub mod autopilot;
pub mod fixed;
mod halving;
pub mod newsvendor;
pub mod percentile;
pub mod vpa;

use supple_quantity::{Bytes, MilliCpu};

use crate::sample::{Size, whole};

/// A size with the memory limit at its request, and no CPU limit: what all adaptive strategies here are judged at.
fn sized(cpu: Option<f64>, memory: Option<f64>) -> Size {
    let memory = memory.map(|it| Bytes(whole(it)));
    Size {
        cpu_request: cpu.map(|it| MilliCpu(whole(it))),
        cpu_limit: None,
        memory_request: memory,
        memory_limit: memory,
    }
}

/// Takes up what is wanted of each resource where it is off by more than `share`.
fn outside(in_force: &Size, cpu: Option<f64>, memory: Option<f64>, share: f64) -> Size {
    let new = sized(cpu, memory);
    let mut size = *in_force;
    if off(in_force.cpu_request.map(|it| it.0), cpu, share) {
        size.cpu_request = new.cpu_request;
    }
    if off(in_force.memory_request.map(|it| it.0), memory, share) {
        size.memory_request = new.memory_request;
        size.memory_limit = new.memory_limit;
    }
    size
}

/// True where `wanted` differs from what is in force by more than `share`, or one of them is not set.
fn off(in_force: Option<i64>, wanted: Option<f64>, share: f64) -> bool {
    match (in_force, wanted) {
        (Some(now), Some(wanted)) => (crate::sample::amount(now) - wanted).abs() > share * crate::sample::amount(now),
        (None, None) => false,
        (_, wanted) => wanted.is_some(),
    }
}
