//! What a rule that sees only the past could reach at best, were it told beforehand which of its settings will have been best.
//!
//! The clairvoyant bound says what the future is worth, not what the past can tell of it. Between the two stand rules of one plain
//! class: a quantile of a window, times a margin, taken up hourly where it differs by enough, with or without a raise at the very
//! sample that is over. Its settings are chosen *with hindsight*: one for a whole set, one for each container. The latter knows
//! of each container more than anybody could, and so is no rule but a yardstick; what of it is luck shows where settings are
//! chosen on the first half of each recording and judged on the second.

use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::{Sample, whole};
use supple_replay::figures::Figures;
use supple_replay::workload::Interval;

use crate::judge::{cost, judge, least, mean, on_all_cores, ours, prices};
use crate::sets::{Set, each};

/// Hours of a window; the last is all there is.
const WINDOWS: [i64; 7] = [1, 3, 6, 12, 24, 72, i64::MAX];
/// Shares of the samples of a window that are to fit.
const SHARES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 1.0];
const MARGINS: [f64; 4] = [1.0, 1.1, 1.25, 1.5];
/// Changes of less than such a share are left alone.
const BANDS: [f64; 2] = [0.1, 0.3];

/// The judged part of a recording that a sample is in.
type Half = Option<usize>;

/// A sample as the rules of the class see it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Place of its hour among those that have samples.
    hour: usize,
    used: f64,
    hours: f64,
    half: Half,
}

/// The costs of one container: first half, second half, both.
type Costs = [Option<f64>; 3];

/// What comes of one container.
struct Container {
    /// Of each setting.
    settings: Vec<Costs>,
    /// Of the size that would have been the best one never to change.
    fixed: Option<f64>,
}

/// The table.
pub fn table(sets: &[Set]) {
    println!("\n### With hindsight of the settings\n");
    println!(
        "| half | set | resource | supple | one size for ever | one setting for the set | a setting for each container | that or supple | second half: setting by the first | supple |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    each(sets, row);
}

fn row(half: &str, set: &Set, resource: Resource, series: &[Vec<Sample>]) {
    let bound = cost(&least(series, set.warmup, resource), resource);
    let (prices, unit) = prices(resource);
    let judged = judge(series, set.warmup, resource, &|| ours(&Policy::default()));
    let own: Vec<Option<f64>> = judged.iter().map(|it| it.cost(&prices, unit)).collect();
    let own_second = on_all_cores(series, |samples| {
        let of = judge(&[samples.to_vec()], second(samples, set.warmup), resource, &|| ours(&Policy::default()));
        of.first().and_then(|it| it.cost(&prices, unit))
    });
    let all = on_all_cores(series, |samples| container(samples, set.warmup, resource));
    let number = WINDOWS.len() * SHARES.len() * MARGINS.len() * BANDS.len() * 2;
    let least_of = |it: &Container, part: usize| it.settings.iter().filter_map(|it| it[part]).min_by(f64::total_cmp);
    let one = (0..number).map(|at| mean(all.iter().filter_map(|it| it.settings[at][2]))).fold(f64::INFINITY, f64::min);
    let each = mean(all.iter().filter_map(|it| least_of(it, 2)));
    let or_own = mean(all.iter().zip(&own).filter_map(|(it, own)| Some(least_of(it, 2)?.min((*own)?))));
    let fixed = mean(all.iter().filter_map(|it| it.fixed));
    // Whoever chooses by the first half, among those of which both are known.
    let chosen = |it: &Container| {
        let known = it.settings.iter().filter_map(|it| it[0].zip(it[1]));
        known.min_by(|a, b| a.0.total_cmp(&b.0)).map(|it| it.1)
    };
    let hindsight = mean(all.iter().filter(|it| chosen(it).is_some()).filter_map(|it| least_of(it, 1)));
    let by_first = mean(all.iter().filter_map(chosen)) / hindsight;
    let own_second =
        mean(all.iter().zip(&own_second).filter(|it| chosen(it.0).is_some()).filter_map(|it| *it.1)) / hindsight;
    println!(
        "| {half} | {} | {resource:?} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {by_first:.2} | {own_second:.2} |",
        set.name,
        mean(own.iter().copied().flatten()) / bound,
        fixed / bound,
        one / bound,
        each / bound,
        or_own / bound,
    );
}

/// Seconds after the first sample at which the second half of what is judged begins.
fn second(samples: &[Sample], warmup: i64) -> i64 {
    let span = samples.last().zip(samples.first()).map_or(0, |(last, first)| last.time - first.time);
    warmup + (span - warmup) / 2
}

/// All settings of the class on one container.
fn container(samples: &[Sample], warmup: i64, resource: Resource) -> Container {
    let (seen, hours) = seen(samples, warmup);
    let (prices, unit) = prices(resource);
    let mut settings = Vec::new();
    for window in WINDOWS {
        for targets in targets(&seen, &hours, window, resource) {
            for margin in MARGINS {
                for (band, raises) in BANDS.into_iter().flat_map(|band| [(band, false), (band, true)]) {
                    let [first, second] = walk(&seen, &targets, margin, band, raises);
                    let mut both = first;
                    both.add(&second);
                    settings.push([first, second, both].map(|it| it.cost(&prices, unit)));
                }
            }
        }
    }
    // One per cent apart, from the highest use down: below a hundredth of it nobody's best is.
    let highest = seen.iter().filter(|it| it.half.is_some()).map(|it| it.used).fold(0.0, f64::max);
    let sizes = (0..460).map(|step| highest * f64::powi(0.99, step));
    let fixed = sizes.filter_map(|size| {
        let mut figures = Figures::default();
        let size = whole(size);
        seen.iter().filter(|it| it.half.is_some()).for_each(|it| figures.judge(it.used, size, it.hours));
        figures.cost(&prices, unit)
    });
    let fixed = fixed.min_by(f64::total_cmp);
    Container { settings, fixed }
}

/// The samples, and the number of each hour that has some.
fn seen(samples: &[Sample], warmup: i64) -> (Vec<Seen>, Vec<i64>) {
    let (mut interval, mut seen, mut hours) = (Interval::default(), Vec::new(), Vec::new());
    let first = samples.first().map_or(0, |it| it.time);
    let second = second(samples, warmup);
    for sample in samples {
        let (Some(stands), Some(used)) = (interval.next(sample.time), sample.cpu.or(sample.memory)) else { continue };
        let hour = sample.time.div_euclid(3600);
        if hours.last() != Some(&hour) {
            hours.push(hour);
        }
        let age = sample.time - first;
        let half = (age >= warmup).then_some(usize::from(age >= second));
        seen.push(Seen { hour: hours.len() - 1, used, hours: stands, half });
    }
    (seen, hours)
}

/// What is asked for at the beginning of each hour, for each of the shares: of the samples of the hours before it.
fn targets(seen: &[Seen], hours: &[i64], window: i64, resource: Resource) -> [Vec<Option<f64>>; SHARES.len()] {
    let mut targets = std::array::from_fn(|_| Vec::new());
    let mut counts = vec![0_u32; usize::from(u16::MAX) + 1];
    let levels: Vec<usize> = seen.iter().map(|it| usize::from(resource.level(it.used))).collect();
    let lowest = levels.iter().copied().min().unwrap_or(0);
    let (mut from, mut to, mut total) = (0, 0, 0_u32);
    for (at, hour) in hours.iter().enumerate() {
        while to < seen.len() && seen[to].hour < at {
            counts[levels[to]] += 1;
            (to, total) = (to + 1, total + 1);
        }
        while from < to && hours[seen[from].hour] < hour.saturating_sub(window) {
            counts[levels[from]] -= 1;
            (from, total) = (from + 1, total - 1);
        }
        let (mut level, mut below) = (lowest, 0);
        for (share, target) in SHARES.iter().zip(&mut targets) {
            let wanted = share * f64::from(total);
            while total > 0 && f64::from(below + counts[level]) + 1e-9 < wanted {
                below += counts[level];
                level += 1;
            }
            let known = u16::try_from(level).ok().filter(|_| total > 0);
            target.push(known.map(|it| resource.amount(it)));
        }
    }
    targets
}

/// One rule of the class.
fn walk(seen: &[Seen], targets: &[Option<f64>], margin: f64, band: f64, raises: bool) -> [Figures; 2] {
    let mut figures = [Figures::default(); 2];
    let mut size: Option<f64> = None;
    let mut hour = usize::MAX;
    for it in seen {
        let mut changes = 0;
        if it.hour != hour {
            hour = it.hour;
            let wanted = targets[hour].map(|target| target * margin).or(size);
            let worth = size.zip(wanted).is_none_or(|(size, wanted)| (wanted - size).abs() > band * size);
            if worth && wanted != size {
                changes += u64::from(size.is_some());
                size = wanted;
            }
        }
        let Some(now) = size else { continue };
        if let Some(half) = it.half {
            figures[half].judge(it.used, whole(now), it.hours);
        }
        if raises && it.used > now {
            changes += 1;
            size = Some(it.used * margin);
        }
        if let Some(half) = it.half {
            figures[half].resizes += changes;
        }
    }
    figures
}
