//! One boot: qemu is started, its serial line is read to the end, and what the machine said decides.
//!
//! The machine has no other way to report than its console, and so has everything that goes wrong in it. Its own words
//! are therefore marked with a number made for this boot; what is not said in them is output of a test.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Memory of the machine, in MiB: the tests, the file system they are in, and what they fill.
const MEMORY: &str = "3072";

/// What the machine said of each program that it ran: its exit status.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    ended: BTreeMap<String, i32>,
    over: bool,
}

/// The console of one boot, line by line.
pub struct Console {
    mark: String,
    report: Report,
    begun: bool,
}

impl Console {
    /// A console whose own words begin with `mark`.
    pub fn new(mark: &str) -> Self {
        Self { mark: mark.to_owned(), report: Report::default(), begun: false }
    }

    /// Take a line; the answer is what of it is worth showing. What comes before the first mark is firmware and kernel.
    pub fn line(&mut self, line: &str) -> Option<String> {
        let line = line.trim_end_matches(['\r', '\n']);
        let Some(at) = line.find(&self.mark) else { return self.begun.then(|| line.to_owned()) };
        let mut words = line[at + self.mark.len()..].split_whitespace();
        match (words.next(), words.next(), words.next().and_then(|it| it.parse().ok())) {
            (Some("begin"), Some(program), since) => {
                self.begun = true;
                let since = since.unwrap_or_default();
                return Some(format!("\n   {program}, in the machine, {since} s after its boot"));
            }
            (Some("end"), Some(program), Some(status)) => {
                self.report.ended.insert(program.to_owned(), status);
            }
            (Some("over"), ..) => self.report.over = true,
            _ => {}
        }
        // What a program said last, without a line end.
        Some(line[..at].to_owned()).filter(|it| !it.is_empty())
    }
}

impl Report {
    /// A sentence for each of `programs` that did not pass.
    pub fn problems<'a>(&self, programs: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let problem = |name: &str| match self.ended.get(name) {
            Some(0) => None,
            Some(status) => Some(format!("{name} failed in the virtual machine (exit status {status})")),
            None => Some(format!("{name} did not come to an end in the virtual machine")),
        };
        programs.into_iter().filter_map(problem).collect()
    }
}

/// Boot `kernel` with `initramfs`, show the console and keep it in `log`. The machine is ended after `patience`.
pub fn boot(kernel: &Path, initramfs: &Path, mark: &str, log: &Path, patience: Duration) -> Result<Report> {
    let deadline = Instant::now() + patience;
    let mut qemu = Command::new("qemu-system-x86_64")
        // Never /dev/kvm: where this machine is a virtual one itself it may be there and fail at any instruction.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", MEMORY, "-smp", "2", "-no-reboot", "-nic", "none"])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        // Without the kernel's own tests of its ciphers: nothing here uses them, and emulated they have hung for good.
        .args(["-append", "console=ttyS0 quiet panic=-1 cryptomgr.notests rdinit=/init"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu-system-x86_64 (Debian package qemu-system-x86)")?;
    let serial = qemu.stdout.take().context("qemu has no output")?;
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut kept = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut console = Console::new(mark);
    while !console.report.over {
        match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                writeln!(kept, "{}", line.trim_end())?;
                if let Some(shown) = console.line(&line) {
                    println!("{shown}");
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                println!("   the virtual machine was ended after {} s", patience.as_secs());
                break;
            }
            // It has gone: a panic of its kernel, or it said that it was over in words that were lost.
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    // It may have ended by itself; whatever it said has been read.
    let _ = qemu.kill();
    qemu.wait().context("cannot wait for qemu")?;
    Ok(console.report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(console: &str, shown: &str, problems: &[&str]) {
        let mut reader = Console::new("[vm 7]");
        let lines: Vec<String> = console.lines().filter_map(|line| reader.line(line)).collect();
        assert_eq!(lines.join("|"), shown, "{console}");
        assert_eq!(reader.report.problems(["a", "b"]), problems, "{console}");
    }

    #[test]
    fn what_the_machine_says_decides() {
        let start = "SeaBIOS\r\nLinux\r\n[vm 7] begin a 12\r\n";
        check(
            &[start, "test x ... ok\r\n[vm 7] end a 0\r\n[vm 7] begin b 300\r\n[vm 7] end b 0\r\n[vm 7] over\r\n"]
                .concat(),
            "\n   a, in the machine, 12 s after its boot|test x ... ok|\n   b, in the machine, 300 s after its boot",
            &[],
        );
        check(
            &[start, "half a line[vm 7] end a 101\n"].concat(),
            "\n   a, in the machine, 12 s after its boot|half a line",
            &["a failed in the virtual machine (exit status 101)", "b did not come to an end in the virtual machine"],
        );
        // A test cannot say that it passed.
        check(
            &[start, "[vm 8] end a 0\nKernel panic\n"].concat(),
            "\n   a, in the machine, 12 s after its boot|[vm 8] end a 0|Kernel panic",
            &["a did not come to an end in the virtual machine", "b did not come to an end in the virtual machine"],
        );
    }
}
