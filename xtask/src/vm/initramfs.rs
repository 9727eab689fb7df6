//! The file system a virtual machine boots with: a tree of files in memory, written as the cpio archive the kernel reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// One thing in the tree.
enum Node {
    Directory,
    File { content: Vec<u8>, executable: bool },
}

/// Files by their absolute path in the machine. A directory is there as soon as something is below it.
#[derive(Default)]
pub struct Tree(BTreeMap<PathBuf, Node>);

impl Tree {
    /// A directory, and those above it.
    pub fn directory(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let above: BTreeSet<&Path> = path.ancestors().filter(|it| it.parent().is_some()).collect();
        for directory in above {
            self.0.entry(directory.to_owned()).or_insert(Node::Directory);
        }
    }

    /// A file with this content.
    pub fn file(&mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>, executable: bool) {
        let path = path.into();
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.0.insert(path, Node::File { content: content.into(), executable });
    }

    /// This machine's program at `from`, at `to` in the other one, with the libraries it is linked to at the places where
    /// its loader looks for them. Symbols stay here: they are most of a debug build.
    pub fn program(&mut self, from: &Path, to: impl Into<PathBuf>) -> Result<()> {
        for library in libraries(from)? {
            let content = fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?;
            self.file(library, content, true);
        }
        let bare = std::env::temp_dir().join(format!("supple-vm-{}", std::process::id()));
        let stripped = Command::new("strip").arg("--strip-debug").arg("-o").arg(&bare).arg(from).status();
        // Without binutils it is only larger.
        let smaller = stripped.is_ok_and(|it| it.success());
        let content = fs::read(if smaller { &bare } else { from });
        // It is there only if strip was.
        let _ = fs::remove_file(&bare);
        let content = content.with_context(|| format!("cannot read {}", from.display()))?;
        self.file(to, content, true);
        Ok(())
    }

    /// The archive, in the format "newc": a header of hexadecimal numbers, the name and the content, each padded to a
    /// multiple of four, for every file, directories before what is in them.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        for (number, (path, node)) in (1_u32..).zip(&self.0) {
            let (mode, content): (u32, &[u8]) = match node {
                Node::Directory => (0o040_755, &[]),
                Node::File { content, executable: true } => (0o100_755, content),
                Node::File { content, executable: false } => (0o100_644, content),
            };
            let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy();
            entry(&mut out, number, mode, &name, content)?;
        }
        entry(&mut out, 0, 0, "TRAILER!!!", &[])
    }
}

fn entry(out: &mut impl Write, number: u32, mode: u32, name: &str, content: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} does not fit into the archive"));
    let size = u32::try_from(content.len()).map_err(too_long)?;
    let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
    // inode, mode, uid, gid, links, time, size, four device numbers, size of the name, no checksum
    let fields = [number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    let header: String = fields.iter().map(|it| format!("{it:08X}")).collect();
    padded(out, format!("070701{header}{name}\0").as_bytes())?;
    padded(out, content)
}

fn padded(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    let rest = bytes.len().next_multiple_of(4) - bytes.len();
    out.write_all(&[0; 4][..rest])
}

/// The shared libraries that a program is linked to, its loader among them; none for a static one.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("=> not found") {
        bail!("{} needs a library that is not here:\n{text}", program.display());
    }
    Ok(paths(&text))
}

/// The absolute paths that `ldd` printed: `libc.so.6 => /lib/…/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn paths(ldd: &str) -> BTreeSet<PathBuf> {
    let words = ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).filter(|path| path.components().all(|it| it != Component::ParentDir)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_every_directory_before_its_files() {
        let mut tree = Tree::default();
        tree.file("/a/b/c", "hello", false);
        tree.file("/init", "#!", true);
        let mut archive = Vec::new();
        tree.write(&mut archive).unwrap();
        let text = String::from_utf8(archive).unwrap();
        let names: Vec<&str> =
            text.split("070701").skip(1).map(|entry| entry[13 * 8..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "init", "TRAILER!!!"]);
        assert_eq!(text.len() % 4, 0, "the next archive, if any, begins on a boundary");
        let file = text.split("070701").nth(3).unwrap();
        assert!(file.contains("000081A4"), "mode 0644 of a plain file: {file:?}");
        assert_eq!(&file[6 * 8..7 * 8], "00000005", "its size: {file:?}");
    }

    #[test]
    fn libraries_are_what_ldd_found() {
        let ldd = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld-linux.so.2 (0x7f)\n";
        assert_eq!(paths(ldd), ["/lib/x/libc.so.6", "/lib64/ld-linux.so.2"].map(PathBuf::from).into());
        assert!(paths("\tnot a dynamic executable\n").is_empty());
    }
}
