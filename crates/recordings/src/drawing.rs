//! The use of one pod as a drawing needs it: at most so many points, however long the recording.

use supple_recommend::sample::Sample;

/// Points at most: some for each pixel.
const POINTS: usize = 4096;

/// Use over time, thinned out as it grows: of samples that become one point the highest counts, for that is what a size
/// must bear.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    points: Vec<(f64, Sample)>,
    /// Samples to a point, less one doubling each time the points are too many.
    every: u32,
    taken: u32,
}

impl Drawing {
    /// Takes in a sample that stands for so many hours.
    pub fn put(&mut self, hours: f64, sample: &Sample) {
        match self.points.last_mut() {
            Some(last) if self.taken < self.every => {
                *last = highest(last, &(hours, *sample));
                self.taken += 1;
            }
            _ => {
                if self.points.len() == POINTS {
                    self.points = self.points.chunks(2).map(|it| highest(&it[0], &it[it.len() - 1])).collect();
                    self.every = self.every.max(1) * 2;
                }
                self.points.push((hours, *sample));
                self.taken = 1;
            }
        }
    }

    /// What each point stands for in hours, and its use.
    pub fn points(&self) -> &[(f64, Sample)] {
        &self.points
    }
}

fn highest(a: &(f64, Sample), b: &(f64, Sample)) -> (f64, Sample) {
    let most = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    (a.0 + b.0, Sample { cpu: most(a.1.cpu, b.1.cpu), memory: most(a.1.memory, b.1.memory), ..a.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_recording_keeps_its_peak_and_its_hours() {
        let mut drawing = Drawing::default();
        for i in 0..100_000 {
            let memory = if i == 77_777 { 9.0 } else { 1.0 };
            drawing.put(0.5, &Sample { time: i, memory: Some(memory), ..Sample::default() });
        }
        let points = drawing.points();
        assert!(points.len() <= POINTS && points.len() > POINTS / 4, "{}", points.len());
        assert_eq!(points.iter().map(|it| it.0).sum::<f64>(), 50_000.0);
        assert_eq!(points.iter().filter(|it| it.1.memory == Some(9.0)).count(), 1);
    }
}
