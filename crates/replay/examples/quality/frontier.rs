//! Footprint against kills of the google set's memory: which pairs of them each strategy can have, whatever its knob.

use supple_recommend::baseline::{autopilot::Autopilot, newsvendor::Newsvendor, percentile, vpa::Vpa};
use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::{OutOfMemory, Sample, Size, amount, whole};
use supple_recommend::strategy::{Pod, Strategy};
use supple_replay::figures::Figures;

use crate::judge::{Make, judge, ours, total};
use crate::sets::{HALVES, Set};
use supple_quantity::Bytes;

/// Margins put upon what a baseline says.
const MARGINS: [f64; 14] = [0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.7, 2.0, 2.5];

/// Prices of a kill, by the default one.
const PRICES: [f64; 11] = [0.35, 0.6, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Kills a day that are asked for at most.
const KILLS: [f64; 4] = [0.15, 0.1, 0.075, 0.05];

/// Footprints that are asked for at most.
const FOOTPRINTS: [f64; 3] = [1.2, 1.3, 1.4];

/// A strategy of which each size of memory is so many times what it says.
struct Scaled {
    strategy: Box<dyn Strategy + Send>,
    margin: f64,
}

impl Strategy for Scaled {
    fn observe(&mut self, pod: Pod, sample: &Sample) {
        self.strategy.observe(pod, sample);
    }

    fn out_of_memory(&mut self, pod: Pod, kill: &OutOfMemory) {
        self.strategy.out_of_memory(pod, kill);
    }

    fn size(&mut self, pod: Pod, now: i64, in_force: &Size) -> Size {
        let times = |it: Option<Bytes>, margin: f64| it.map(|it| Bytes(whole(amount(it.0) * margin)));
        let scaled = |size: &Size, margin: f64| Size {
            memory_request: times(size.memory_request, margin),
            memory_limit: times(size.memory_limit, margin),
            ..*size
        };
        // What is left alone is left to the byte: it went through a division.
        let own = scaled(in_force, 1.0 / self.margin);
        let said = self.strategy.size(pod, now, &own);
        if said == own { *in_force } else { scaled(&said, self.margin) }
    }
}

/// The tables.
pub fn tables(sets: &[Set]) {
    println!("\n### Footprint against kills\n");
    let Some(set) = sets.iter().find(|it| it.name.starts_with("google")) else { return };
    let mut ends = Vec::new();
    print!("| half | strategy");
    KILLS.iter().for_each(|it| print!(" | at ≤ {it} kills"));
    FOOTPRINTS.iter().for_each(|it| print!(" | at ≤ {it:.1}"));
    println!(" |\n|---|---{}|", "|---".repeat(KILLS.len() + FOOTPRINTS.len()));
    let baselines: [(&str, &Make<'_>); 5] = [
        ("vpa", &|| Box::new(Vpa::default())),
        ("autopilot", &|| Box::new(Autopilot::default())),
        ("krr", &|| Box::new(percentile::Percentile::new(percentile::Rule::krr()))),
        ("p95", &|| Box::new(percentile::Percentile::new(percentile::Rule::p95()))),
        ("newsvendor", &|| Box::new(Newsvendor::default())),
    ];
    for (half, even) in HALVES {
        let series = set.half(even, Resource::Memory);
        let judged = |make: &Make<'_>| total(&judge(&series, set.warmup, Resource::Memory, make));
        let dear = |price: f64| {
            let mut policy = Policy::default();
            policy.memory.incident *= price;
            policy
        };
        let points: Vec<Figures> = PRICES.iter().map(|it| judged(&|| ours(&dear(*it)))).collect();
        println!("{}", row(half, "supple", &points));
        for (price, it) in PRICES.iter().zip(&points) {
            ends.push(format!(
                "| {half} | {price} | {:.3} | {:.3} | {:.2} |",
                it.footprint().unwrap_or(f64::NAN),
                it.events_per_day(),
                it.resizes_per_day()
            ));
        }
        for (name, make) in baselines {
            let points: Vec<Figures> = MARGINS
                .iter()
                .map(|margin| judged(&|| Box::new(Scaled { strategy: make(), margin: *margin })))
                .collect();
            println!("{}", row(half, name, &points));
        }
    }
    println!("\n### What a dearer kill buys\n");
    println!("| half | price by the default one | footprint | kills/day | resizes/day |\n|---|---|---|---|---|");
    ends.iter().for_each(|it| println!("{it}"));
}

/// What a strategy has where no more than so much is allowed.
fn row(half: &str, name: &str, points: &[Figures]) -> String {
    let footprint = |it: &Figures| it.footprint().unwrap_or(f64::INFINITY);
    let told = |of: Option<f64>, digits: usize| of.map_or("-".to_owned(), |it| format!("{it:.digits$}"));
    let mut row = format!("| {half} | {name}");
    for most in KILLS {
        let allowed = points.iter().filter(|it| it.events_per_day() <= most).map(footprint);
        row += &format!(" | {}", told(allowed.min_by(f64::total_cmp), 2));
    }
    for most in FOOTPRINTS {
        let allowed = points.iter().filter(|it| footprint(it) <= most).map(Figures::events_per_day);
        row += &format!(" | {}", told(allowed.min_by(f64::total_cmp), 3));
    }
    row + " |"
}
