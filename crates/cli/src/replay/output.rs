//! Files that are written whole or not at all: beside their place, and moved there when nothing can go wrong any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// A file that is going to be written.
pub struct Output {
    /// As it was typed.
    path: PathBuf,
    /// Where it is, links followed. `None`: a device or a pipe, which is written to as it is.
    place: Option<PathBuf>,
}

impl Output {
    /// Looks whether the file that `option` names can be written, before anything is replayed: a misspelt folder must not cost a month
    /// of it. What is read must not be replaced.
    pub fn new<'a>(option: &str, path: &Path, read: impl Iterator<Item = &'a PathBuf>) -> Result<Self, Failure> {
        if let Some(input) = same(path, read) {
            let (path, input) = (path.display(), input.display());
            return Err(Failure::Usage(format!("{option} {path} would replace the input {input}; name another file")));
        }
        // A pipe that another program gave us (`/dev/stdout`, `/dev/fd/63`) has no path of its own, though it can be opened by this one.
        let is_special = path.metadata().is_ok_and(|it| !it.is_file() && !it.is_dir());
        // One that is not there yet: its folder is, or it cannot be written.
        let new = || folder_of(path).and_then(|it| Some(it.join(path.file_name()?))).unwrap_or_else(|| path.to_owned());
        let place = (!is_special).then(|| path.canonicalize().unwrap_or_else(|_| new()));
        let output = Self { path: path.to_owned(), place };
        output.try_out().map_err(|error| output.failed(&error))?;
        Ok(output)
    }

    /// Whether both are one file.
    pub fn is_same(&self, other: &Self) -> bool {
        self.place.is_some() && self.place == other.place
    }

    /// Writes the file.
    pub fn write(&self, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let written = || {
            let Some(place) = &self.place else {
                let mut out = BufWriter::new(OpenOptions::new().write(true).open(&self.path)?);
                content(&mut out)?;
                return out.flush();
            };
            let (beside, file) = beside(place)?;
            let mut out = BufWriter::new(file);
            let whole = content(&mut out).and_then(|()| out.flush()).and_then(|()| out.get_ref().sync_all());
            let moved = whole.and_then(|()| {
                if let Ok(before) = place.metadata() {
                    fs::set_permissions(&beside, before.permissions())?;
                }
                fs::rename(&beside, place)
            });
            if moved.is_err() {
                // What is not whole is worth nothing, and why it is not is said already.
                let _ = fs::remove_file(&beside);
            }
            moved
        };
        written().map_err(|error| self.failed(&error))
    }

    fn try_out(&self) -> io::Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        if place.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        fs::remove_file(beside(place)?.0)
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::refused(format!("cannot write {}: {error}", self.path.display()))
    }
}

/// The folder of a file that is not there, links followed.
fn folder_of(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    (if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).canonicalize().ok()
}

/// The input that is the same file.
fn same<'a>(path: &Path, mut read: impl Iterator<Item = &'a PathBuf>) -> Option<&'a PathBuf> {
    let path = path.canonicalize().ok()?;
    read.find(|it| it.canonicalize().is_ok_and(|it| it == path))
}

/// An empty file in the same folder, so that it can be moved, under a name of this process's alone. In a container that is always the same:
/// what a process left there that was killed goes first.
fn beside(place: &Path) -> io::Result<(PathBuf, File)> {
    let name = place.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let path = place.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::create_new(&path)?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_pipe_that_another_program_gave_us_is_written_to() {
        let (mut read, write) = std::io::pipe().unwrap();
        // As a shell names it: `--emit >(xz > sizes.xz)`.
        let path = PathBuf::from(format!("/proc/self/fd/{}", write.as_raw_fd()));
        let output = Output::new("--emit", &path, std::iter::empty()).map_err(|_| "refused").unwrap();
        output.write(|out| out.write_all(b"sizes")).map_err(|_| "not written").unwrap();
        drop(write);
        let mut written = String::new();
        read.read_to_string(&mut written).unwrap();
        assert_eq!(written, "sizes");
    }

    #[test]
    fn what_a_killed_process_of_our_number_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        fs::write(folder.path().join(format!(".report.html.{}", std::process::id())), "half").unwrap();
        let output = Output::new("--html", &path, std::iter::empty()).map_err(|_| "refused").unwrap();
        output.write(|out| out.write_all(b"whole")).map_err(|_| "not written").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
