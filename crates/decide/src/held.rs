//! What a pod holds of its node, in integers: the twin of `supple_resize::allocate::held` over facts, because a round asks this of
//! every pod of the cluster. Properties hold the twins together; the sum over containers is one for both.

use supple_resize::amounts::{Amounts, together};

use crate::facts::{ContainerFacts, Phase, PodFacts};

impl PodFacts {
    /// The effective requests and limits of the pod, each container counted as `amounts_of` says, overhead included.
    pub fn effective(&self, level: Amounts, amounts_of: impl Fn(usize, &ContainerFacts) -> Amounts) -> Amounts {
        let amounts = self.containers.iter().enumerate().map(|(index, it)| (it.kind, amounts_of(index, it)));
        together(amounts, level, self.overhead.amounts())
    }

    /// What its spec asks for as a whole.
    #[must_use]
    pub fn desired(&self) -> Amounts {
        self.effective(self.pod_level.amounts(), |_, it| it.asked.amounts())
    }

    /// What its node has promised it as a whole, limits as in its spec.
    #[must_use]
    pub fn promised(&self) -> Amounts {
        let promised = self.pod_level_held.as_deref().and_then(|it| it.allocated).map(|it| it.amounts());
        let level = restated(self.pod_level.amounts(), promised.unwrap_or_default(), self.overhead.amounts());
        self.effective(level, |_, it| it.promised())
    }

    /// What it holds on its node: the greater of promised and reported requests. A pod that has ended holds nothing.
    #[must_use]
    pub fn held(&self) -> Amounts {
        if self.phase == Phase::Ended {
            return Amounts::default();
        }
        let mut level = self.pod_level.amounts();
        if level.cpu_request.0 != 0 || level.memory_request.0 != 0 {
            let status = self.pod_level_held.as_deref().copied().unwrap_or_default();
            let overhead = self.overhead.amounts();
            let promised = status.allocated.map(|it| it.amounts()).unwrap_or_default();
            let reported = status.actual.map(|it| it.amounts()).unwrap_or_default().max(promised);
            level = restated(level, promised, overhead);
            let held = |level: i64, reported: i64, overhead: i64| match level {
                0 => 0,
                _ => level.max(reported.saturating_sub(overhead)),
            };
            level.cpu_request.0 = held(level.cpu_request.0, reported.cpu_request.0, overhead.cpu_request.0);
            level.memory_request.0 = held(level.memory_request.0, reported.memory_request.0, overhead.memory_request.0);
        }
        self.effective(level, |_, it| {
            let reported = it.actual.map(|it| it.amounts()).unwrap_or_default();
            it.promised().max(reported).max(it.allocated.map(|it| it.amounts()).unwrap_or_default())
        })
    }
}

impl ContainerFacts {
    /// What its node has promised it: the requests that the status reports, and those of the spec where it reports none.
    fn promised(&self) -> Amounts {
        let mut promised = self.asked.amounts();
        if self.actual.is_some() || self.allocated.is_some() {
            let allocated = self.allocated.map(|it| it.amounts()).unwrap_or_default();
            promised.cpu_request = allocated.cpu_request;
            promised.memory_request = allocated.memory_request;
        }
        promised
    }
}

/// The pod level with the requests its status was promised, for what it states only; the status counts the overhead in.
fn restated(mut level: Amounts, promised: Amounts, overhead: Amounts) -> Amounts {
    let cpu = promised.cpu_request.0.saturating_sub(overhead.cpu_request.0);
    if level.cpu_request.0 != 0 && cpu > 0 {
        level.cpu_request.0 = cpu;
    }
    let memory = promised.memory_request.0.saturating_sub(overhead.memory_request.0);
    if level.memory_request.0 != 0 && memory > 0 {
        level.memory_request.0 = memory;
    }
    level
}
