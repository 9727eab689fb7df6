//! Files as streams of plain bytes, whatever they are packed with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lzma_rust2::XzReader;

use crate::row::{InputError, Sink};
use crate::{csv, prometheus, zstd};

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

/// Gives what a file holds to `sink`, whatever it is packed with; `-` is standard input. `read` is told of the bytes of the file as
/// they are used up.
pub fn read(path: &Path, sink: &mut dyn Sink, read: &Arc<AtomicU64>) -> Result<(), InputError> {
    let file = path.display().to_string();
    let failed = |source| InputError::Read { file: file.clone(), source };
    let packed: Box<dyn Read + Send> =
        if is_input(path) { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(failed)?) };
    let mut input = unpacked(Counted { from: packed, read: Arc::clone(read) }).map_err(failed)?;
    let read = match kind(path) {
        Some(Kind::Json) => prometheus::read(&file, &mut *input, sink),
        // A name that says something else, or nothing, says less than what is in it.
        _ => match begins_as_json(&mut *input) {
            Ok(true) => prometheus::read(&file, &mut *input, sink),
            Ok(false) => csv::read(&file, &mut *input, sink),
            Err(error) => Err(failed(error)),
        },
    };
    read.map_err(|error| match error {
        InputError::Read { file, source } if source.kind() == io::ErrorKind::UnexpectedEof => {
            InputError::Read { file, source: io::Error::new(source.kind(), CUT) }
        }
        InputError::Read { file, source } if source.kind() == io::ErrorKind::OutOfMemory => {
            InputError::Read { file, source: io::Error::new(source.kind(), TOO_MUCH) }
        }
        other => other,
    })
}

/// Every decoder has words of its own for it.
const CUT: &str = "the file is truncated or damaged: its end is missing or unreadable; copy or pack it again";

/// Memory that unpacking xz may take, in KiB, and what is said where that is too little: what the packer looked back on is kept, and it says
/// itself how much that is. `xz -9` looks back on 64 MiB.
const MOST_FOR_XZ: u32 = 512 << 10;
const TOO_MUCH: &str = "unpacking it takes more than 512 MiB of memory; pack it again with a smaller dictionary";

/// Whether a path means standard input.
fn is_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether what it names can be read again from its beginning.
pub fn is_lasting(path: &Path) -> bool {
    !is_input(path) && path.is_file()
}

/// The plain bytes of what is packed, or is not: told by how it begins, for names may say anything and standard input has none.
fn unpacked(from: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut from = BufReader::with_capacity(BUFFER, from);
    let mut head = Vec::with_capacity(XZ.len());
    from.by_ref().take(XZ.len() as u64).read_to_end(&mut head)?;
    let whole = io::Cursor::new(head.clone()).chain(from);
    Ok(match &head[..] {
        it if it.starts_with(GZIP) => buffered(flate2::bufread::MultiGzDecoder::new(whole)),
        it if zstd::begins(it) => buffered(zstd::Frames::new(whole)),
        it if it.starts_with(XZ) => buffered(XzReader::new_mem_limit(whole, true, MOST_FOR_XZ)),
        _ => Box::new(whole),
    })
}

/// Whether the first byte that is not blank opens an object or a list.
fn begins_as_json(input: &mut dyn BufRead) -> io::Result<bool> {
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            return Ok(false);
        }
        match block.iter().position(|it| !it.is_ascii_whitespace()) {
            Some(at) => return Ok(matches!(block[at], b'{' | b'[')),
            None => {
                let blank = block.len();
                input.consume(blank);
            }
        }
    }
}

/// How packed files begin.
const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// Bytes as they are, counted.
struct Counted<R> {
    from: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn buffered(plain: impl Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(BUFFER, plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lzma_rust2::{CheckType, FilterType, XzOptions, XzWriter};
    use std::io::Write as _;

    const TEXT: &str = "time,namespace,workload,pod,container,cpu_cores,memory_bytes\n";

    #[track_caller]
    fn check(packed: Vec<u8>) {
        let mut text = String::new();
        // A pipe gives its first bytes one by one.
        let slow = packed.into_iter().map(|byte| vec![byte]).collect();
        unpacked(Slow(slow)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, TEXT);
    }

    struct Slow(std::collections::VecDeque<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.pop_front().map_or(Ok(0), |it| (&it[..]).read(buffer))
        }
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn xz(text: &str) -> Vec<u8> {
        xz_as(&XzOptions::with_preset(0), text.as_bytes())
    }

    fn xz_as(options: &XzOptions, plain: &[u8]) -> Vec<u8> {
        let mut xz = XzWriter::new(Vec::new(), options.clone()).unwrap();
        xz.write_all(plain).unwrap();
        xz.finish().unwrap()
    }

    #[test]
    fn what_it_is_packed_with_is_told_by_its_beginning() {
        check(TEXT.as_bytes().to_vec());
        [gzip, zstd, xz].into_iter().for_each(|pack| check(pack(TEXT)));
    }

    /// What some packers put between or before what they pack: nothing that is read.
    #[test]
    fn what_is_packed_in_pieces_is_read_to_the_end() {
        let (one, other) = TEXT.split_at(17);
        for pack in [gzip, zstd, xz] {
            check([pack(one), pack(other)].concat());
            check([pack(""), pack(one), pack(""), pack(other), pack("")].concat());
        }
        check([xz(one), vec![0; 8], xz(other), vec![0; 4]].concat());
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        check([&skipped[..], &zstd(one), &skipped, &zstd(other), &skipped].concat());
    }

    #[test]
    fn xz_may_have_any_check_and_filter() {
        for check in [CheckType::None, CheckType::Crc32, CheckType::Crc64, CheckType::Sha256] {
            let mut options = XzOptions::with_preset(0);
            options.set_check_sum_type(check);
            check_xz(&options);
        }
        for (filter, property) in [(FilterType::BcjX86, 0), (FilterType::BcjArm64, 0), (FilterType::Delta, 4)] {
            let mut options = XzOptions::with_preset(0);
            options.prepend_pre_filter(filter, property);
            check_xz(&options);
        }
    }

    #[track_caller]
    fn check_xz(options: &XzOptions) {
        check(xz_as(options, TEXT.as_bytes()));
        let mut damaged = xz_as(options, TEXT.repeat(40).as_bytes());
        // Within what is packed, which is behind a head of 12 bytes and one of at least as many.
        damaged[40] ^= 0x10;
        let read = unpacked(io::Cursor::new(damaged)).and_then(|mut it| it.read_to_string(&mut String::new()));
        assert!(read.is_err(), "damaged");
    }

    #[test]
    fn no_more_is_read_than_what_comes_next_takes() {
        // Bytes that cannot be packed: the packed ones are as many, all in one block.
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        let plain: Vec<u8> = (0..8 * BUFFER).map(|_| noise()).collect();
        let read = Arc::<AtomicU64>::default();
        let packed = io::Cursor::new(xz_as(&XzOptions::with_preset(0), &plain));
        let mut unpacked = unpacked(Counted { from: packed, read: Arc::clone(&read) }).unwrap();
        let mut so_far = 0;
        loop {
            let block = unpacked.fill_buf().unwrap();
            assert_eq!(block, &plain[so_far..so_far + block.len()]);
            if block.is_empty() {
                break;
            }
            so_far += block.len();
            let ahead = usize::try_from(read.load(Ordering::Relaxed)).unwrap().saturating_sub(so_far);
            assert!(ahead <= 2 * BUFFER, "{ahead} bytes ahead of {so_far} of {}", plain.len());
            let taken = block.len();
            unpacked.consume(taken);
        }
        assert_eq!(so_far, plain.len());
    }

    #[test]
    fn what_takes_too_much_memory_is_not_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("usage.csv.xz");
        let mut packed = xz(TEXT);
        // The dictionary's size is in the block's head: its flags, the filter LZMA2, one byte of properties.
        let at = packed.windows(2).position(|it| it == [0x21, 1]).unwrap();
        packed[at + 2] = 40;
        let head = 12..12 + (usize::from(packed[12]) + 1) * 4;
        let sum = crc32(&packed[head.start..head.end - 4]).to_le_bytes();
        packed[head.end - 4..head.end].copy_from_slice(&sum);
        std::fs::write(&file, packed).unwrap();
        let mut sink = Nobody(crate::names::Names::default());
        let error = read(&file, &mut sink, &Arc::default()).unwrap_err().to_string();
        assert!(error.contains("more than 512 MiB"), "{error}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        sum.sum()
    }

    /// Who wants no rows.
    struct Nobody(crate::names::Names);

    impl Sink for Nobody {
        fn names(&mut self) -> &mut crate::names::Names {
            &mut self.0
        }

        fn row(
            &mut self,
            _: crate::names::Place,
            _: supple_recommend::sample::Sample,
            _: u64,
        ) -> Result<bool, InputError> {
            Ok(true)
        }

        fn half(&mut self, _: crate::names::Place, _: supple_recommend::sample::Sample) -> Result<(), InputError> {
            Ok(())
        }

        fn wrong(&mut self, error: InputError) -> Result<(), InputError> {
            Err(error)
        }
    }

    #[test]
    fn what_is_cut_is_no_shorter_recording() {
        let (one, other) = TEXT.split_at(17);
        for pack in [gzip, zstd, xz] {
            let first = pack(one);
            let whole = [&first[..], &pack(other)].concat();
            // Less than the first bytes might be a text, and as one it is refused by whoever reads it.
            for cut in XZ.len()..whole.len() {
                let mut text = String::new();
                let read =
                    unpacked(io::Cursor::new(whole[..cut].to_vec())).and_then(|mut it| it.read_to_string(&mut text));
                // Where a piece ends a file may end.
                assert_eq!(read.is_ok(), cut == first.len(), "cut at {cut} of {}: {text:?}", whole.len());
            }
        }
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'a'];
        assert!(unpacked(io::Cursor::new(skipped)).unwrap().read_to_string(&mut String::new()).is_err());
    }

    #[test]
    fn what_is_damaged_or_followed_by_something_else_is_told() {
        for pack in [gzip, zstd, xz] {
            let packed = pack(&TEXT.repeat(40));
            for more in ["x", "time,namespace", "\0\0\0\0x"] {
                let read = unpacked(io::Cursor::new([&packed[..], more.as_bytes()].concat()))
                    .and_then(|mut it| it.read_to_string(&mut String::new()));
                assert!(read.is_err(), "{more:?} behind {} bytes", packed.len());
            }
            // The last bytes of all three are there to tell damage.
            let mut damaged = packed.clone();
            damaged[packed.len() - 1] ^= 1;
            let read = unpacked(io::Cursor::new(damaged)).and_then(|mut it| it.read_to_string(&mut String::new()));
            assert!(read.is_err(), "the last of {} bytes", packed.len());
        }
    }

    #[test]
    fn what_it_holds_is_told_by_its_beginning_where_the_name_says_nothing() {
        for (text, json) in [("", false), ("time,", false), ("  \n", false), (" \n{\"status\"", true), ("[", true)] {
            let mut input = BufReader::with_capacity(2, text.as_bytes());
            assert_eq!(begins_as_json(&mut input).unwrap(), json, "{text:?}");
        }
    }
}
