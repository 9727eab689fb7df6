//! The shared recordings, and which half of each was looked at for tuning.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use supple_recommend::resource::Resource;
use supple_recommend::sample::Sample;

/// File, and hours of learning left out.
pub const SETS: [(&str, i64); 4] =
    [("google-2011-jobs", 24), ("bitbrains-2013-08", 24), ("nezha-pods", 5), ("crane-apps", 24)];

/// The halves: name, and whether the even series are meant.
pub const HALVES: [(&str, bool); 2] = [("even (tuned on)", true), ("odd (checked on)", false)];

/// One recording.
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Seconds of learning left out.
    pub warmup: i64,
    series: BTreeMap<String, Vec<Sample>>,
}

impl Set {
    /// All of them.
    pub fn load(folder: &Path) -> Result<Vec<Self>, Box<dyn std::error::Error>> {
        let one = |(name, hours): (&'static str, i64)| {
            Ok(Self { name, warmup: hours * 3600, series: load(&folder.join(format!("{name}.csv.xz")))? })
        };
        SETS.into_iter().map(one).collect()
    }

    /// The series of one half that say enough of a resource, with nothing of the other.
    pub fn half(&self, even: bool, resource: Resource) -> Vec<Vec<Sample>> {
        let mut chosen = Vec::new();
        for (at, (name, samples)) in self.series.iter().enumerate() {
            let number = name.split(|it: char| !it.is_ascii_digit()).find_map(|it| it.parse::<u64>().ok());
            // Pods have no numbers, and the applications' are all even: there the place in the list is halved.
            let by_place = matches!(self.name, "nezha-pods" | "crane-apps");
            let number = if by_place { u64::try_from(at).ok() } else { number };
            if number.is_some_and(|it| it % 2 == 0) != even {
                continue;
            }
            let samples: Vec<Sample> = samples
                .iter()
                .map(|it| match resource {
                    Resource::Cpu => Sample { memory: None, ..*it },
                    Resource::Memory => Sample { cpu: None, ..*it },
                })
                .filter(|it| it.cpu.is_some() || it.memory.is_some())
                .collect();
            let span = samples.last().zip(samples.first()).map_or(0, |(last, first)| last.time - first.time);
            if span >= self.warmup + 6 * 3600 {
                chosen.push(samples);
            }
        }
        chosen
    }
}

/// A row for each half, resource and recording, in that order, where there is something of it: the half's name and its series.
pub fn each(sets: &[Set], mut row: impl FnMut(&str, &Set, Resource, &[Vec<Sample>])) {
    for (half, even) in HALVES {
        for resource in Resource::ALL {
            for set in sets {
                let series = set.half(even, resource);
                if !series.is_empty() {
                    row(half, set, resource, &series);
                }
            }
        }
    }
}

fn load(path: &Path) -> Result<BTreeMap<String, Vec<Sample>>, Box<dyn std::error::Error>> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    lzma_rust2::XzReader::new(std::io::BufReader::new(file), true).read_to_string(&mut text)?;
    let mut series = BTreeMap::<String, Vec<Sample>>::new();
    for line in text.lines().skip(1) {
        let values: Vec<&str> = line.split(',').collect();
        let sample = Sample {
            time: values[0].parse()?,
            cpu: values[5].parse().ok().map(|it: f64| it * 1000.0),
            memory: values[6].parse().ok(),
            ..Sample::default()
        };
        series.entry(values[2..4].join(",")).or_default().push(sample);
    }
    Ok(series)
}
