//! The use of one pod as a drawing needs it: at most so many points, however long the recording.

use supple_recommend::sample::Sample;

/// Points at most: some for each pixel.
const POINTS: usize = 4096;

/// Use over time, thinned out as it grows: of samples that become one point the highest counts, for that is what a size
/// must bear.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    points: Vec<Sample>,
    /// Samples to a point, less one doubling each time the points are too many.
    every: u32,
    taken: u32,
}

impl Drawing {
    /// Takes in a sample.
    pub fn put(&mut self, sample: &Sample) {
        match self.points.last_mut() {
            Some(last) if self.taken < self.every => {
                *last = highest(last, sample);
                self.taken += 1;
            }
            _ => {
                if self.points.len() == POINTS {
                    self.points = self.points.chunks(2).map(|it| highest(&it[0], &it[it.len() - 1])).collect();
                    self.every = self.every.max(1) * 2;
                }
                self.points.push(*sample);
                self.taken = 1;
            }
        }
    }

    /// When each point is, and its use.
    pub fn points(&self) -> &[Sample] {
        &self.points
    }
}

fn highest(a: &Sample, b: &Sample) -> Sample {
    let most = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    Sample { cpu: most(a.cpu, b.cpu), memory: most(a.memory, b.memory), ..*a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_recording_keeps_its_peak() {
        let mut drawing = Drawing::default();
        for i in 0..100_000 {
            let memory = if i == 77_777 { 9.0 } else { 1.0 };
            drawing.put(&Sample { time: i, memory: Some(memory), ..Sample::default() });
        }
        let points = drawing.points();
        assert!(points.len() <= POINTS && points.len() > POINTS / 4, "{}", points.len());
        assert_eq!(points.iter().filter(|it| it.memory == Some(9.0)).count(), 1);
    }
}
