//! The text formats of cgroup and proc files, read into numbers. Pure; any bytes may come, none may panic.

use std::path::PathBuf;

/// A value that may be the word `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// No limit.
    Max,
    /// This much.
    At(u64),
}

/// `max` or a number, surrounding white space ignored.
pub fn limit(text: &str) -> Option<Limit> {
    match text.trim() {
        "max" => Some(Limit::Max),
        number => number.parse().ok().map(Limit::At),
    }
}

/// One number on a line of its own; the kernel prints -1 for "none" in some files.
pub fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// Numbers, one on each line (`cgroup.procs`). A line that is no number ends nothing and counts for nothing: the kernel
/// writes `0` for processes outside the reader's PID namespace, which nobody can address.
pub fn pids(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|&pid| pid != 0)
}

/// `cpu.max`: quota and period in microseconds.
pub fn cpu_max(text: &str) -> Option<(Limit, u64)> {
    let mut words = text.split_whitespace();
    let quota = limit(words.next()?)?;
    let period = words.next().map_or(Some(100_000), |word| word.parse().ok())?;
    words.next().is_none().then_some((quota, period))
}

/// A flat-keyed file (`cpu.stat`, `memory.events`): the number behind `key`.
pub fn flat(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// A nested-keyed file (`io.stat`, `memory.pressure`): the text behind `key=` on the line that begins with `head`.
pub fn nested<'a>(text: &'a str, head: &str, key: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        (name == head).then_some(rest)
    })?;
    line.split_whitespace().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name == key).then_some(value)
    })
}

/// One line of a pressure file: how long some (or all) tasks waited for the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Percent of the last 10 s.
    pub avg10: f64,
    /// Percent of the last 60 s.
    pub avg60: f64,
    /// Percent of the last 300 s.
    pub avg300: f64,
    /// Microseconds in all (counter).
    pub total: u64,
}

/// The line `head` (`some` or `full`) of a pressure file. Percentages that are no finite number are refused.
pub fn pressure(text: &str, head: &str) -> Option<Pressure> {
    let percent = |key| nested(text, head, key)?.parse::<f64>().ok().filter(|it| it.is_finite());
    Some(Pressure {
        avg10: percent("avg10")?,
        avg60: percent("avg60")?,
        avg300: percent("avg300")?,
        total: nested(text, head, "total")?.parse().ok()?,
    })
}

/// A pressure file: how long tasks waited for a resource (PSI).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Psi {
    /// At least one task waited.
    pub some: Pressure,
    /// All that could have worked waited: nothing was done. Zero where the kernel does not say (CPU before Linux 5.13).
    pub full: Pressure,
}

/// Both lines of a pressure file.
pub fn psi(text: &str) -> Option<Psi> {
    Some(Psi { some: pressure(text, "some")?, full: pressure(text, "full").unwrap_or_default() })
}

/// One line of `/proc/self/mountinfo`, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which directory of the file system is mounted; not `/` in a container.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// File system type: `cgroup`, `cgroup2`.
    pub kind: String,
    /// Options of the file system: for `cgroup` its controllers.
    pub options: Vec<String>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// The mounts of a mount table; lines that are none are left out.
pub fn mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point, flags) = (left.next()?, left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, _source, options) = (right.next()?, right.next()?, right.next()?);
    Some(Mount {
        root: unescape(root),
        point: unescape(point),
        kind: kind.to_owned(),
        options: options.split(',').map(str::to_owned).collect(),
        read_only: flags.split(',').any(|flag| flag == "ro") || options.split(',').any(|option| option == "ro"),
    })
}

/// Undo the table's `\040` (octal) for blanks, tabs, newlines and backslashes in paths.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\').then(|| tail.get(..3)).flatten().and_then(octal);
        match code {
            Some(code) => {
                out.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

fn octal(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|b| (b'0'..=b'7').contains(&b)).then(|| u8::from_str_radix(text, 8).ok())?
}

/// `/proc/self/cgroup`: the path of the process in the hierarchy that has `controller`, or in v2's for `""`.
pub fn own_path<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers.split(',').any(|it| it == controller).then_some(path)
    })
}

/// `/proc/PID/stat`: when the process began, in clock ticks since boot. With the PID it names a process for good: a PID
/// that was given out again has another start.
pub fn start_ticks(text: &str) -> Option<u64> {
    // The second field is the program's name in parentheses and may hold blanks and parentheses itself.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_and_cpu_max() {
        #[track_caller]
        fn check(text: &str, expect: Option<(Limit, u64)>) {
            assert_eq!(cpu_max(text), expect, "{text:?}");
        }
        check("max 100000\n", Some((Limit::Max, 100_000)));
        check("50000 100000\n", Some((Limit::At(50_000), 100_000)));
        check("50000", Some((Limit::At(50_000), 100_000)));
        check("", None);
        check("50000 x", None);
        check("1 2 3", None);
        assert_eq!(limit("max\n"), Some(Limit::Max));
        assert_eq!(limit("4096\n"), Some(Limit::At(4096)));
        assert_eq!(limit("-1\n"), None);
    }

    #[test]
    fn keyed_files() {
        let stat = "usage_usec 12\nnr_periods 3\nnr_throttled 2\nthrottled_usec 900\n";
        assert_eq!(flat(stat, "nr_throttled"), Some(2));
        assert_eq!(flat(stat, "nr_throttle"), None);
        let io = "8:16 rbytes=1 wbytes=2\n8:0 rbytes=90430464 wbytes=299008000\n";
        assert_eq!(nested(io, "8:0", "wbytes"), Some("299008000"));
        assert_eq!(nested(io, "8:1", "wbytes"), None);
        let psi = "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(pressure(psi, "some"), Some(Pressure { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 123 }));
        assert_eq!(pressure(psi, "full").map(|it| it.total), Some(7));
        assert_eq!(pressure("some avg10=inf avg60=0 avg300=0 total=1", "some"), None);
    }

    #[test]
    fn mount_table_of_a_container_with_a_blank_in_its_path() {
        let line = r"36 35 98:0 /docker/a1 /mnt\040x rw,noatime master:1 - cgroup cgroup rw,cpu,cpuacct";
        let expect = Mount {
            root: "/docker/a1".into(),
            point: "/mnt x".into(),
            kind: "cgroup".into(),
            options: vec!["rw".into(), "cpu".into(), "cpuacct".into()],
            read_only: false,
        };
        assert_eq!(mountinfo(line), vec![expect]);
        assert_eq!(mountinfo("nonsense\n1 2 3 - \n"), Vec::new());
    }

    #[test]
    fn own_paths() {
        let text = "4:memory:/a/b:c\n3:cpu,cpuacct:/x\n0::/y\n";
        assert_eq!(own_path(text, "memory"), Some("/a/b:c"));
        assert_eq!(own_path(text, "cpuacct"), Some("/x"));
        assert_eq!(own_path(text, ""), Some("/y"));
        assert_eq!(own_path(text, "blkio"), None);
    }

    #[test]
    fn a_process_name_may_look_like_fields() {
        let stat = "42 (a b) 7 (x)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 9";
        assert_eq!(start_ticks(stat), Some(123_456));
        assert_eq!(start_ticks("42 (x) S 1"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", key in "[a-z_.]{0,12}") {
            let _ = (limit(&text), number::<i64>(&text), pids(&text).count(), cpu_max(&text), flat(&text, &key));
            let _ = (nested(&text, &key, &key), pressure(&text, "some"), mountinfo(&text), own_path(&text, &key));
            let _ = start_ticks(&text);
        }

        #[test]
        fn no_almost_valid_text_panics(text in r"(some|full|[0-9]{1,25}|max|avg10=|=|\)|\(|:|\\[0-7]{0,3}|/| - | |\n|,|ro|cgroup){0,60}") {
            let _ = (limit(&text), pids(&text).count(), cpu_max(&text), flat(&text, "some"), nested(&text, "some", "avg10"));
            let _ = (pressure(&text, "some"), mountinfo(&text), own_path(&text, ""), start_ticks(&text));
        }

        #[test]
        fn flat_keyed_files_are_read_back(entries in proptest::collection::btree_map("[a-z_]{1,10}", any::<u64>(), 0..12)) {
            let text: String = entries.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
            for (key, value) in &entries {
                prop_assert_eq!(flat(&text, key), Some(*value));
            }
        }
    }
}
