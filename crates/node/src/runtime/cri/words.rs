//! The CRI's words for what the house knows under others: resources, states, ends. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use supple_resize::kernel::{CgroupResources, UNLIMITED};
use supple_resize::memory_qos::MemoryTiers;

use super::proto;
use crate::runtime::Exit;

/// Resources of an update: 0 is "leave as it is" in the CRI, and no limit is a value of its own.
pub fn update(values: &CgroupResources) -> proto::LinuxContainerResources {
    let CgroupResources { cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes, tiers } = *values;
    proto::LinuxContainerResources {
        cpu_shares: signed(cpu_shares.unwrap_or(0)),
        cpu_quota: cpu_quota_us.unwrap_or(0),
        cpu_period: signed(cpu_period_us.unwrap_or(0)),
        memory_limit_in_bytes: memory_limit_bytes.unwrap_or(0),
        unified: unified(&tiers),
        ..Default::default()
    }
}

/// What the CRI has no word for is handed through by the name of its file, on cgroup v2.
fn unified(tiers: &MemoryTiers) -> BTreeMap<String, String> {
    let MemoryTiers { min_bytes, low_bytes, high_bytes } = *tiers;
    [("memory.min", min_bytes), ("memory.low", low_bytes), ("memory.high", high_bytes)]
        .into_iter()
        .filter_map(|(file, value)| {
            let value = value?;
            Some((file.to_owned(), if value < 0 { "max".to_owned() } else { value.to_string() }))
        })
        .collect()
}

/// Resources of something that is yet to be made: without a limit from the beginning there is none to state.
pub fn start(values: &CgroupResources, oom_score_adj: i32) -> proto::LinuxContainerResources {
    let stated = |limit: Option<i64>| limit.filter(|it| *it != UNLIMITED);
    let values = CgroupResources {
        cpu_quota_us: stated(values.cpu_quota_us),
        memory_limit_bytes: stated(values.memory_limit_bytes),
        ..*values
    };
    proto::LinuxContainerResources { oom_score_adj: oom_score_adj.into(), ..update(&values) }
}

/// The shares that a runtime says a container has. What its cgroup has instead is a weight on cgroup v2, and which
/// formula led there depends on the version of whoever wrote it.
pub fn shares(status: &proto::ContainerStatus) -> Option<u64> {
    let linux = status.resources.as_ref()?.linux.as_ref()?;
    u64::try_from(linux.cpu_shares).ok().filter(|it| *it > 0)
}

/// Where a container is, by its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, not started.
    Created,
    /// Running since.
    Running(Timestamp),
    /// Over.
    Exited(Exit),
    /// The runtime has lost track of it.
    Unknown,
}

/// What a status says.
pub fn state(status: &proto::ContainerStatus) -> State {
    match status.state() {
        proto::ContainerState::ContainerCreated => State::Created,
        proto::ContainerState::ContainerRunning => State::Running(time(status.started_at)),
        proto::ContainerState::ContainerExited => State::Exited(exit(status)),
        proto::ContainerState::ContainerUnknown => State::Unknown,
    }
}

/// How it ended. The CRI knows no signals, so none is told; the code says 128+n.
fn exit(status: &proto::ContainerStatus) -> Exit {
    // One that never ran has no start: then it began when it ended. One that ended at once may be said to have begun
    // later: containerd notes a start when it has been answered, and an end when it came.
    let started = if status.started_at > 0 { status.started_at.min(status.finished_at) } else { status.finished_at };
    Exit {
        code: status.exit_code,
        signal: None,
        oom_killed: status.reason == "OOMKilled",
        started_at: time(started),
        finished_at: time(status.finished_at),
    }
}

/// The end of a container that is gone without a trace: what the kubelet says of one.
pub fn lost(started_at: Timestamp, now: Timestamp) -> Exit {
    Exit { code: 137, signal: None, oom_killed: false, started_at, finished_at: now }
}

/// An end by SIGKILL within this time of an OOM kill in the container was that kill. Its notice comes within milliseconds, on
/// a busy machine later; who is asked to end gets a second at least before it is killed.
const KILL_TO_END: SignedDuration = SignedDuration::from_secs(1);

/// The end as it is to be told when the kernel told of an OOM kill in the container then: one by SIGKILL at that time was the
/// OOM killer's, whether the container runtime knows it yet or not.
pub fn with_kill(exit: Exit, heard_at: Option<Timestamp>) -> Exit {
    let near = |heard: Timestamp| heard.duration_since(exit.finished_at).abs() <= KILL_TO_END;
    let by_it = exit.code == 137 && heard_at.is_some_and(near);
    Exit { oom_killed: exit.oom_killed || by_it, ..exit }
}

/// A moment in the CRI's nanoseconds.
pub fn time(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Shares and periods are small; what is not is no value of a kernel.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use supple_quantity::{Bytes, MilliCpu};
    use supple_resize::amounts::Amounts;

    #[track_caller]
    fn check(got: &proto::LinuxContainerResources, [shares, quota, period, memory]: [i64; 4]) {
        let proto::LinuxContainerResources { cpu_shares, cpu_quota, cpu_period, memory_limit_in_bytes, .. } = got;
        assert_eq!([*cpu_shares, *cpu_quota, *cpu_period, *memory_limit_in_bytes], [shares, quota, period, memory]);
    }

    #[test]
    fn resources_as_the_kernel_takes_them() {
        let amounts = Amounts {
            cpu_request: MilliCpu(100),
            cpu_limit: MilliCpu(250),
            memory_limit: Bytes(64 << 20),
            ..Amounts::default()
        };
        let all = CgroupResources::of(&amounts, 100_000);
        check(&update(&all), [102, 25_000, 100_000, 64 << 20]);
        check(&start(&all, 5), [102, 25_000, 100_000, 64 << 20]);
        assert_eq!(start(&all, 5).oom_score_adj, 5);
        let none = CgroupResources::of(&Amounts::default(), 100_000);
        check(&update(&none), [2, -1, 100_000, -1]);
        check(&start(&none, 0), [2, 0, 100_000, 0]);
        check(&update(&CgroupResources::default()), [0, 0, 0, 0]);
    }

    #[test]
    fn tiers_go_by_the_names_of_their_files() {
        let tiers = MemoryTiers { min_bytes: Some(64), low_bytes: None, high_bytes: Some(UNLIMITED) };
        let expect =
            [("memory.high", "max"), ("memory.min", "64")].map(|(file, value)| (file.to_owned(), value.to_owned()));
        assert_eq!(update(&CgroupResources::default().tiered(tiers)).unified, expect.clone().into());
        assert_eq!(start(&CgroupResources::default().tiered(tiers), 0).unified, expect.into());
        assert!(update(&CgroupResources::default()).unified.is_empty(), "a container of version 1 would be refused");
    }

    #[test]
    fn ends_as_the_runtime_tells_them() {
        let status = |exit_code, reason: &str| proto::ContainerStatus {
            state: proto::ContainerState::ContainerExited.into(),
            started_at: 1_000_000_000,
            finished_at: 3_500_000_000,
            exit_code,
            reason: reason.to_owned(),
            ..Default::default()
        };
        let exit = |code, oom_killed| {
            let (started_at, finished_at) = (time(1_000_000_000), time(3_500_000_000));
            State::Exited(Exit { code, signal: None, oom_killed, started_at, finished_at })
        };
        assert_eq!(state(&status(0, "Completed")), exit(0, false));
        assert_eq!(state(&status(3, "Error")), exit(3, false));
        assert_eq!(state(&status(137, "OOMKilled")), exit(137, true));
    }

    #[test]
    fn an_oom_kill_that_the_runtime_does_not_know_of_yet_is_one() {
        #[track_caller]
        fn check(code: i32, said: bool, heard_after_ms: Option<i64>, expect: bool) {
            let finished_at = time(3_500_000_000);
            let exit = Exit { code, signal: None, oom_killed: said, started_at: time(1_000_000_000), finished_at };
            let heard = heard_after_ms.map(|it| finished_at + SignedDuration::from_millis(it));
            let expected = Exit { oom_killed: expect, ..exit.clone() };
            assert_eq!(with_kill(exit, heard), expected);
        }
        check(137, false, Some(-40), true);
        check(137, false, Some(200), true);
        check(137, true, None, true);
        check(137, false, None, false); // `kill -9`
        check(137, false, Some(-60_000), false); // a child was killed long ago
        check(1, false, Some(-40), false); // a child was killed, and it ended by itself
    }

    #[test]
    fn nothing_ends_before_it_began() {
        let times = |started_at, finished_at| {
            let state_ = proto::ContainerState::ContainerExited.into();
            match state(&proto::ContainerStatus { state: state_, started_at, finished_at, ..Default::default() }) {
                State::Exited(exit) => (exit.started_at, exit.finished_at),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(times(5, 7), (time(5), time(7)));
        assert_eq!(times(9, 7), (time(7), time(7)));
        assert_eq!(times(0, 7), (time(7), time(7)));
    }

    #[test]
    fn no_number_of_a_runtime_panics() {
        for nanos in [i64::MIN, -1, 0, i64::MAX] {
            let _ = time(nanos);
        }
        let status = proto::ContainerStatus { state: 77, ..Default::default() };
        assert_eq!(state(&status), State::Created, "an unknown state is the first, as proto3 has it");
        assert_eq!(shares(&status), None);
    }
}
