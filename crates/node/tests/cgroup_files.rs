//! What is written to and read from cgroup files, on directories of plain files: version 2, which this project's CI
//! machine has no controllers for, and the corners of version 1.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

use std::fs;
use std::path::{Path, PathBuf};

use supple_node::cgroup::{CgroupError, Group, Hierarchies, MemoryEvents, Pressure, Psi, Role, Stat, V1};
use supple_resize::kernel::CgroupResources;

/// A cgroup made of plain files, as the kernel presents a fresh one.
struct Fixture {
    _dir: tempfile::TempDir,
    at: PathBuf,
    group: Group,
}

const V2: &[(&str, &str)] = &[
    ("cgroup.procs", ""),
    ("cgroup.controllers", "cpuset cpu io memory pids\n"),
    ("cgroup.subtree_control", ""),
    ("cpu.max", "max 100000\n"),
    ("cpu.weight", "100\n"),
    ("cpu.stat", "usage_usec 1500\nuser_usec 1000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 70\n"),
    (
        "cpu.pressure",
        "some avg10=12.50 avg60=1.00 avg300=0.10 total=99\nfull avg10=2.50 avg60=0.00 avg300=0.00 total=9\n",
    ),
    ("memory.max", "max\n"),
    ("memory.current", "1000000\n"),
    ("memory.peak", "2000000\n"),
    ("memory.stat", "anon 1\nfile 600000\ninactive_file 400000\npgfault 30\npgmajfault 2\n"),
    ("memory.events", "low 0\nhigh 5\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n"),
    ("memory.pressure", "some avg10=0.25 avg60=0.00 avg300=0.00 total=5\n"),
    ("memory.swap.max", "max\n"),
];

fn v2(role: Role) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let at = match role {
        Role::Root => dir.path().join("r"),
        Role::Pod | Role::Container => dir.path().join("r/x"),
    };
    fs::create_dir_all(&at).unwrap();
    for (name, content) in V2 {
        fs::write(at.join(name), content).unwrap();
        fs::write(dir.path().join(name), content).unwrap();
    }
    let root = Group::root(&Hierarchies::V2(dir.path().to_owned()), "r");
    let group = if role == Role::Root { root } else { root.child("x", role) };
    Fixture { _dir: dir, at, group }
}

impl Fixture {
    #[track_caller]
    fn holds(&self, name: &str, content: &str) {
        assert_eq!(fs::read_to_string(self.at.join(name)).unwrap(), content, "{name}");
    }
}

fn values(shares: u64, quota: i64, memory: i64) -> CgroupResources {
    CgroupResources {
        cpu_shares: Some(shares),
        cpu_quota_us: Some(quota),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(memory),
        ..CgroupResources::default()
    }
}

#[test]
fn v2_resources_are_translated() {
    #[track_caller]
    fn check(role: Role, write: CgroupResources, weight: &str, max: &str, memory: &str) {
        let fixture = v2(role);
        fixture.group.apply(&write).unwrap();
        fixture.holds("cpu.weight", weight);
        fixture.holds("cpu.max", max);
        fixture.holds("memory.max", memory);
        fixture.holds("memory.swap.max", "0");
    }
    // One core keeps the kernel's default weight in a container and is 39 in a pod: reference §5.5.
    check(Role::Container, values(1024, 50_000, 1 << 27), "100", "50000 100000", "134217728");
    check(Role::Pod, values(1024, 50_000, 1 << 27), "39", "50000 100000", "134217728");
    check(Role::Container, values(2, 1000, 1 << 27), "1", "1000 100000", "134217728");
    check(Role::Container, values(262_144, -1, 1 << 27), "10000", "max 100000", "134217728");
}

#[test]
fn v2_what_is_not_said_stays() {
    let fixture = v2(Role::Container);
    let none = CgroupResources::default();
    fixture.group.apply(&none).unwrap();
    for (name, content) in V2 {
        fixture.holds(name, content);
    }
    fixture.group.apply(&CgroupResources { cpu_quota_us: Some(-1), ..none }).unwrap();
    fixture.holds("cpu.max", "max");
    fs::write(fixture.at.join("cpu.max"), "20000 100000\n").unwrap();
    fixture.group.apply(&CgroupResources { cpu_period_us: Some(50_000), ..none }).unwrap();
    fixture.holds("cpu.max", "20000 50000");
    fixture.group.apply(&CgroupResources { memory_limit_bytes: Some(-1), ..none }).unwrap();
    fixture.holds("memory.max", "max");
}

#[test]
fn v2_memory_in_use_is_not_taken_away() {
    let fixture = v2(Role::Container);
    let lower = CgroupResources { memory_limit_bytes: Some(999_999), ..Default::default() };
    let error = fixture.group.apply(&lower).unwrap_err();
    assert_eq!(error.errno(), Some(16));
    let path = fixture.at.join("memory.max");
    let text = format!(
        "write \"999999\" to {}: Device or resource busy (os error 16); more than that is in use and could not be reclaimed",
        path.display()
    );
    assert_eq!(error.to_string(), text);
    fixture.holds("memory.max", "max\n");
    // Raising one that is below usage (the kernel is about to reclaim) is no taking away.
    fs::write(&path, "500000\n").unwrap();
    fixture.group.apply(&lower).unwrap();
    fixture.holds("memory.max", "999999");
}

#[test]
fn v2_readings() {
    let fixture = v2(Role::Container);
    let expect = Stat {
        cpu_usage_nanos: 1_500_000,
        cpu_periods: 9,
        throttled_periods: 4,
        throttled_nanos: 70_000,
        memory_usage: 1_000_000,
        memory_inactive_file: 400_000,
        memory_peak: 2_000_000,
        memory_rss: 1,
        memory_cache: 600_000,
        page_faults: 30,
        major_page_faults: 2,
        memory_events: MemoryEvents { high: 5, max: 7, oom_kill: 3 },
        cpu_pressure: Some(Psi {
            some: Pressure { avg10: 12.5, avg60: 1.0, avg300: 0.1, total: 99 },
            full: Pressure { avg10: 2.5, avg60: 0.0, avg300: 0.0, total: 9 },
        }),
        // Without a second line, as CPU had it before Linux 5.13.
        memory_pressure: Some(Psi {
            some: Pressure { avg10: 0.25, avg60: 0.0, avg300: 0.0, total: 5 },
            full: Pressure::default(),
        }),
        io_pressure: None,
    };
    assert_eq!(fixture.group.stat().unwrap(), expect);
    assert_eq!(expect.memory_working_set(), 600_000);
    // What older kernels do not have is left out, never an error.
    for name in ["memory.peak", "cpu.pressure", "memory.pressure"] {
        fs::remove_file(fixture.at.join(name)).unwrap();
    }
    let without = Stat { memory_peak: 0, cpu_pressure: None, memory_pressure: None, ..expect };
    assert_eq!(fixture.group.stat().unwrap(), without);
    assert_eq!(fixture.group.read().unwrap(), values(1024, -1, -1).rounded_to_weight(&fixture.group));
}

/// A weight stands for the least shares that have it.
trait Rounded {
    fn rounded_to_weight(self, group: &Group) -> Self;
}

impl Rounded for CgroupResources {
    fn rounded_to_weight(mut self, group: &Group) -> Self {
        let shares = self.cpu_shares.unwrap();
        let kernel = |shares| supple_resize::kernel::container_weight(shares);
        assert_eq!(group.role(), Role::Container);
        self.cpu_shares = (2..=shares).find(|it| kernel(*it) == kernel(shares));
        self
    }
}

#[test]
fn v2_controllers_are_handed_on_once() {
    let fixture = v2(Role::Root);
    fixture.group.create().unwrap();
    // Both were written, one after the other, to our parent and to our root; a plain file keeps the last.
    fixture.holds("cgroup.subtree_control", "+memory");
    let parent = fixture.at.parent().unwrap().join("cgroup.subtree_control");
    assert_eq!(fs::read_to_string(&parent).unwrap(), "+memory");
    fs::write(&parent, "cpu memory\n").unwrap();
    fixture.group.create().unwrap();
    assert_eq!(fs::read_to_string(&parent).unwrap(), "cpu memory\n");
}

#[test]
fn what_a_file_holds_is_named_when_it_is_no_number() {
    #[track_caller]
    fn check(name: &str, content: &[u8], expect: &str) {
        let fixture = v2(Role::Container);
        fs::write(fixture.at.join(name), content).unwrap();
        let error = fixture.group.stat().and_then(|_| fixture.group.read().map(drop)).unwrap_err();
        assert!(matches!(error, CgroupError::Malformed { .. }), "{error}");
        assert_eq!(error.to_string(), format!("read {}: {expect}", fixture.at.join(name).display()));
    }
    check("memory.current", b"lots\n", r#""lots\n" is not a number"#);
    check("memory.current", b"\xff", "\"\u{fffd}\" is not a number");
    check("cpu.max", b"max\n100000 3", r#""max\n100000 3" is not a quota and a period"#);
    check("memory.pressure", b"full", r#""full" is not a pressure file"#);
    check("memory.max", b"", r#""" is not max or a number"#);
}

#[test]
fn v1_without_swap_accounting_and_with_one_directory_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |name: &str| dir.path().join(name);
    let v1 = V1 { cpu: mount("cpu"), cpuacct: mount("cpu"), memory: mount("memory"), unified: None };
    let group = Group::root(&Hierarchies::V1(v1), "r");
    assert_eq!(group.directories(), [mount("cpu/r"), mount("memory/r")]);
    for dir in group.directories() {
        fs::create_dir_all(dir).unwrap();
    }
    let write = |path: &str, content: &str| fs::write(mount(path), content).unwrap();
    let read = |path: &str| fs::read_to_string(mount(path)).unwrap();
    write("cpu/r/cpu.shares", "1024\n");
    write("cpu/r/cpu.cfs_quota_us", "-1\n");
    write("cpu/r/cpu.cfs_period_us", "100000\n");
    write("memory/r/memory.usage_in_bytes", "5\n");
    write("memory/r/memory.limit_in_bytes", "9223372036854771712\n");
    write("memory/r/memory.use_hierarchy", "0\n");
    assert_eq!(group.read().unwrap(), values(1024, -1, -1));
    group.create().unwrap();
    assert_eq!(read("memory/r/memory.use_hierarchy"), "1");
    group.apply(&CgroupResources { cpu_period_us: Some(50_000), ..values(512, 25_000, 1 << 20) }).unwrap();
    assert_eq!((read("cpu/r/cpu.shares"), read("cpu/r/cpu.cfs_quota_us")), ("512".into(), "25000".into()));
    assert_eq!(
        (read("cpu/r/cpu.cfs_period_us"), read("memory/r/memory.limit_in_bytes")),
        ("50000".into(), "1048576".into())
    );
}

#[test]
fn a_write_that_fails_names_path_value_and_number() {
    let fixture = v2(Role::Container);
    fs::remove_file(fixture.at.join("cpu.weight")).unwrap();
    let error = fixture.group.apply(&CgroupResources { cpu_shares: Some(1024), ..Default::default() }).unwrap_err();
    let path = fixture.at.join("cpu.weight");
    assert_eq!(
        error.to_string(),
        format!("write \"100\" to {}: No such file or directory (os error 2)", path.display())
    );
    assert!(error.is_gone());
}

#[test]
fn names_stay_below_our_root() {
    #[track_caller]
    fn check(name: &str, expect: bool) {
        assert_eq!(Group::is_name(name), expect, "{name:?}");
        // What is a name is one component.
        assert!(!expect || Path::new("/x").join(name).parent() == Some(Path::new("/x")));
    }
    check("pod7ccdc1f5-e520", true);
    check("a.b_c-1", true);
    for name in ["", ".", "..", "a/b", "/a", "a\0", "a b", "ä", &"x".repeat(256)] {
        check(name, false);
    }
}
