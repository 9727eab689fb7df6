//! What the pods of the node hold, kept as running sums so that a decision costs the same with one pod and with a
//! thousand.
//!
//! A pod holds the greatest of what it was promised, what its record on disk still says and what its cgroups still have: a
//! growing pod holds its new size from the promise on, a shrinking one its old size until the disk and the kernel have the new
//! one. So the node never promises more than it has, not even for a moment, nor to the node that is started after it.

use std::collections::HashMap;

use supple_quantity::{Bytes, MilliCpu};
use supple_resize::allocate::Used;
use supple_resize::amounts::Amounts;

#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    promised: (i64, i64),
    /// The most that may stand on disk.
    recorded: (i64, i64),
    actuated: (i64, i64),
}

impl Hold {
    fn cpu(&self) -> i64 {
        self.promised.0.max(self.recorded.0).max(self.actuated.0)
    }

    fn memory(&self) -> i64 {
        self.promised.1.max(self.recorded.1).max(self.actuated.1)
    }
}

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pods: HashMap<String, Hold>,
    // i128: no number of pods can make these overflow.
    cpu: i128,
    memory: i128,
}

impl Ledger {
    fn change(&mut self, uid: &str, change: impl FnOnce(&mut Hold)) -> bool {
        let hold = self.pods.entry(uid.to_owned()).or_default();
        let (cpu, memory) = (hold.cpu(), hold.memory());
        change(hold);
        self.cpu += i128::from(hold.cpu()) - i128::from(cpu);
        self.memory += i128::from(hold.memory()) - i128::from(memory);
        hold.cpu() < cpu || hold.memory() < memory
    }

    /// The node promises a pod these requests.
    pub(crate) fn promise(&mut self, uid: &str, amounts: &Amounts) {
        self.change(uid, |hold| {
            // The former promise stands on disk until the new one does.
            let (cpu, memory) = hold.recorded;
            hold.recorded = (cpu.max(hold.promised.0), memory.max(hold.promised.1));
            hold.promised = (amounts.cpu_request.0, amounts.memory_request.0);
        });
    }

    /// These requests stand on disk now, in place of all earlier ones. Returns whether room was freed.
    pub(crate) fn recorded(&mut self, uid: &str, amounts: &Amounts) -> bool {
        self.pods.contains_key(uid)
            && self.change(uid, |hold| hold.recorded = (amounts.cpu_request.0, amounts.memory_request.0))
    }

    /// The pod's cgroups have these requests now. Returns whether room was freed.
    pub(crate) fn actuated(&mut self, uid: &str, amounts: &Amounts) -> bool {
        // A report that comes after the pod was released is old news.
        self.pods.contains_key(uid)
            && self.change(uid, |hold| hold.actuated = (amounts.cpu_request.0, amounts.memory_request.0))
    }

    /// The pod holds nothing any more. Returns whether it held something.
    pub(crate) fn release(&mut self, uid: &str) -> bool {
        let Some(hold) = self.pods.remove(uid) else { return false };
        self.cpu -= i128::from(hold.cpu());
        self.memory -= i128::from(hold.memory());
        true
    }

    /// What all pods but this one were promised, whatever their cgroups still have. It is what a pod that was promised
    /// its room before the node was started must fit beside: a neighbour's shrink of which the record was lost, or which
    /// is still to be done, takes nothing back from it.
    pub(crate) fn promised_to_others(&self, uid: &str) -> Used {
        let others = self.pods.iter().filter(|(other, _)| *other != uid).map(|(_, hold)| hold.promised);
        let (pods, cpu, memory) = others.fold((0_u32, 0_i64, 0_i64), |(pods, cpu, memory), it| {
            (pods.saturating_add(1), cpu.saturating_add(it.0), memory.saturating_add(it.1))
        });
        Used { cpu: MilliCpu(cpu), memory: Bytes(memory), pods }
    }

    /// What all pods but this one hold.
    pub(crate) fn others(&self, uid: &str) -> Used {
        let own = self.pods.get(uid);
        let count = self.pods.len() - usize::from(own.is_some());
        let own = own.copied().unwrap_or_default();
        let clamp = |sum: i128| i64::try_from(sum).unwrap_or(i64::MAX);
        Used {
            cpu: MilliCpu(clamp(self.cpu - i128::from(own.cpu()))),
            memory: Bytes(clamp(self.memory - i128::from(own.memory()))),
            pods: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amounts(cpu: i64, memory: i64) -> Amounts {
        Amounts { cpu_request: MilliCpu(cpu), memory_request: Bytes(memory), ..Amounts::default() }
    }

    #[test]
    fn a_shrink_frees_room_when_it_is_on_disk_and_in_the_kernel() {
        let mut ledger = Ledger::default();
        ledger.promise("a", &amounts(500, 100));
        assert!(!ledger.actuated("a", &amounts(500, 100)));
        ledger.promise("a", &amounts(200, 100));
        assert_eq!(ledger.others("b").cpu, MilliCpu(500));
        assert_eq!(ledger.promised_to_others("b").cpu, MilliCpu(200));
        assert!(!ledger.actuated("a", &amounts(200, 100)));
        assert_eq!(ledger.others("b").cpu, MilliCpu(500));
        assert!(ledger.recorded("a", &amounts(200, 100)));
        assert_eq!(ledger.others("b").cpu, MilliCpu(200));
        assert!(ledger.release("a"));
        assert!(!ledger.actuated("a", &amounts(200, 100)));
        assert_eq!(ledger.others("b"), Used::default());
    }

    proptest! {
        /// The running sums are what a full count would give, whatever happens in whatever order.
        #[test]
        fn sums_equal_a_full_count(steps in prop::collection::vec((0..4u8, 0..5u8, 0..1000i64, 0..1000i64), 0..60)) {
            let mut ledger = Ledger::default();
            for (kind, pod, cpu, memory) in steps {
                let uid = pod.to_string();
                match kind {
                    0 => ledger.promise(&uid, &amounts(cpu, memory)),
                    1 => { ledger.actuated(&uid, &amounts(cpu, memory)); }
                    2 => { ledger.recorded(&uid, &amounts(cpu, memory)); }
                    _ => { ledger.release(&uid); }
                }
                let cpu: i128 = ledger.pods.values().map(|hold| i128::from(hold.cpu())).sum();
                let memory: i128 = ledger.pods.values().map(|hold| i128::from(hold.memory())).sum();
                prop_assert_eq!((ledger.cpu, ledger.memory), (cpu, memory));
                let others = ledger.others("nobody");
                prop_assert_eq!(i128::from(others.cpu.0), cpu);
                prop_assert_eq!(others.pods as usize, ledger.pods.len());
            }
        }
    }
}
