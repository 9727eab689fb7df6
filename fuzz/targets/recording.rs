//! Recorded usage as `supple replay` reads it: comma separated values and answers of Prometheus. Where the buffer ends does
//! not matter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supple_recommend::sample::Sample;
use supple_recordings::names::{Names, Place};
use supple_recordings::row::{InputError, Sink};
use supple_recordings::{csv, prometheus};

#[derive(Default)]
struct Kept {
    names: Names,
    told: Vec<String>,
}

impl Sink for Kept {
    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn row(&mut self, place: Place, sample: Sample, line: u64) -> Result<bool, InputError> {
        let _ = self.names.note(place, sample.time);
        self.told.push(format!("{line} {place:?} {sample:?}"));
        Ok(true)
    }

    fn half(&mut self, place: Place, sample: Sample) -> Result<(), InputError> {
        self.told.push(format!("{place:?} {sample:?}"));
        Ok(())
    }

    fn wrong(&mut self, error: InputError) -> Result<(), InputError> {
        self.told.push(error.to_string());
        Ok(())
    }
}

type Read = fn(&str, &mut dyn std::io::BufRead, &mut dyn Sink) -> Result<(), InputError>;

fn told(read: Read, mut text: &[u8], buffer: usize) -> Vec<String> {
    let mut kept = Kept::default();
    let ended = match buffer {
        0 => read("x", &mut text, &mut kept),
        size => read("x", &mut std::io::BufReader::with_capacity(size, text), &mut kept),
    };
    kept.told.extend(ended.err().map(|it| it.to_string()));
    kept.told
}

fuzz_target!(|data: &[u8]| {
    let header = b"time,namespace,workload,pod,container,cpu_cores,memory_bytes,cpu_limit,memory_limit,restarts\n";
    for text in [data, &[&header[..60], b"\n", data].concat(), &[&header[..], data].concat()] {
        assert_eq!(told(csv::read, text, 0), told(csv::read, text, 7));
    }
    assert_eq!(told(prometheus::read, data, 0), told(prometheus::read, data, 7));
});
