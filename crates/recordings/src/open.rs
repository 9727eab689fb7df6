//! Files as streams of plain bytes, whatever they are packed with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of a file at once.
const BUFFER: usize = 1 << 18;

/// The files meant: a directory means what lies in it, by name.
pub fn files(named: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let path = entry?.path();
                if path.is_file() && kind(&path).is_some() {
                    inside.push(path);
                }
            }
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// What a file holds, told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lines of comma separated values.
    Csv,
    /// Answers of Prometheus.
    Json,
}

/// What a file of this name holds, unpacked; `None` for what is not a recording.
pub fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let plain = [".gz", ".xz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    if plain.ends_with(".csv") {
        Some(Kind::Csv)
    } else if plain.ends_with(".json") {
        Some(Kind::Json)
    } else {
        None
    }
}

/// The plain bytes of a file; `-` is standard input.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
    }
    let file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let end = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
    Ok(match end.as_str() {
        "gz" => buffered(flate2::bufread::MultiGzDecoder::new(file)),
        "zst" => buffered(ruzstd::decoding::StreamingDecoder::new(file).map_err(io::Error::other)?),
        "xz" => Box::new(BufReader::with_capacity(BUFFER, xz(file)?)),
        _ => Box::new(file),
    })
}

fn buffered(plain: impl Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(BUFFER, plain))
}

/// The decoder pushes; readers pull. A pipe between two threads turns one into the other in bounded memory.
fn xz(mut packed: impl BufRead + Send + 'static) -> io::Result<Unpacking> {
    let (from, to) = io::pipe()?;
    let worker = std::thread::spawn(move || {
        let mut to = io::BufWriter::with_capacity(BUFFER, to);
        lzma_rs::xz_decompress(&mut packed, &mut to).map_err(|error| error.to_string())?;
        io::Write::flush(&mut to).map_err(|error| error.to_string())
    });
    Ok(Unpacking { from, worker: Some(worker) })
}

/// The reading end; the writer's failure is told at the end of the bytes, where it would otherwise look like one.
struct Unpacking {
    from: io::PipeReader,
    worker: Option<std::thread::JoinHandle<Result<(), String>>>,
}

impl Read for Unpacking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(worker) = self.worker.take()
        {
            let ended = worker.join().unwrap_or_else(|_| Err("the decoder broke".to_owned()));
            ended.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Ok(count)
    }
}
