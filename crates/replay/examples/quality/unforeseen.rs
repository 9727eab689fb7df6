//! How much of the cost nobody who sees only the past could have avoided: incidents counted by what was known before them.
//!
//! The clairvoyant bound foresees a level that was never seen before, and a jump within one sample; no rule can. So beside it
//! stands a *blind* bound: a clairvoyant who knows all that is going to happen, but not that a use is going to be higher by more
//! than 15 % than every one before it. Such a sample is an incident to it, whatever it does; all the others it sees coming.

use supple_recommend::policy::Policy;
use supple_recommend::resource::Resource;
use supple_recommend::sample::{Sample, Size, amount};
use supple_replay::bound::{Bound, Range};
use supple_replay::decide::Decide;
use supple_replay::figures::{Figures, count};
use supple_replay::workload::{Interval, Workload};

use crate::judge::{cost, least, mean, on_all_cores, ours, prices};
use crate::sets::{Set, each};

/// A use so much higher than every one before it is no margin's business: that of the baselines is 15 % at most.
const RECORD: f64 = 1.15;

/// A sample before an incident below this share of the size gave no warning.
const QUIET: f64 = 0.9;

/// What was known before incidents.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    incidents: u64,
    /// Of them: higher than every use before.
    never: u64,
    /// Higher than every use of the 24 hours before, but not than all before.
    not_lately: u64,
    /// The sample before was far below the size: the jump took less than one interval.
    at_once: u64,
    /// Higher than every use before, or not announced.
    either: u64,
}

/// The tables.
pub fn tables(sets: &[Set]) {
    println!("\n### What nobody could foresee\n");
    println!(
        "J by what it is made of, of ours and of the bound; *blind* is the J of a clairvoyant who foresees everything but a use more than 15 % higher than every one before it. Incidents (memory: kills, CPU: samples over) of ours: *never seen*, the use was higher than every one before; *not lately*, than every one of the day before; *at once*, a sample before it was below nine tenths of the size.\n"
    );
    println!(
        "| half | set | resource | slack | incidents | resizes | bound: slack | resizes | J/J* | J/blind | incidents | never seen | not lately | at once | never or at once |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    each(sets, row);
}

fn row(half: &str, set: &Set, resource: Resource, series: &[Vec<Sample>]) {
    let (own, known): (Vec<Figures>, Vec<Known>) =
        on_all_cores(series, |samples| lived(samples, set.warmup, resource)).into_iter().unzip();
    let bound = least(series, set.warmup, resource);
    let blind = mean(on_all_cores(series, |samples| blind(samples, set.warmup, resource)).into_iter().flatten());
    let (j, best) = (cost(&own, resource), cost(&bound, resource));
    let parts = |all: &[Figures]| {
        let (prices, least) = prices(resource);
        let of =
            |part: &dyn Fn(&Figures) -> f64| mean(all.iter().filter(|it| it.hours > 0.0).map(|it| part(it) / it.hours));
        let events = |it: &Figures| if prices.per_sample { it.over } else { it.events };
        [
            of(&|it| it.slack / (it.used / it.hours).max(least)),
            of(&|it| prices.event * count(events(it))),
            of(&|it| prices.resize * count(it.resizes)),
        ]
    };
    let sum = |of: fn(&Known) -> u64| known.iter().map(of).sum::<u64>();
    let all = sum(|it| it.incidents);
    let share = |of: fn(&Known) -> u64| {
        if all == 0 { "-".to_owned() } else { format!("{:.0} %", count(sum(of)) / count(all) * 100.0) }
    };
    let ([slack, incidents, resizes], [least_slack, _, least_resizes]) = (parts(&own), parts(&bound));
    println!(
        "| {half} | {} | {resource:?} | {slack:.3} | {incidents:.3} | {resizes:.3} | {least_slack:.3} | {least_resizes:.3} | {:.2} | {:.2} | {all} | {} | {} | {} | {} |",
        set.name,
        j / best,
        j / blind,
        share(|it| it.never),
        share(|it| it.not_lately),
        share(|it| it.at_once),
        share(|it| it.either),
    );
}

/// A series under our own rule, and what was known before each of its incidents.
fn lived(samples: &[Sample], warmup: i64, resource: Resource) -> (Figures, Known) {
    let mut workload = Workload::new(vec![(ours(&Policy::default()), Decide::default())], warmup);
    let (mut interval, mut known) = (Interval::default(), Known::default());
    let (mut size, mut over, mut before, mut highest) = (Size::default(), false, 0.0, 0.0);
    let mut day = std::collections::VecDeque::<(i64, f64)>::new();
    for sample in samples {
        let (Some(hours), Some(used)) = (interval.next(sample.time), sample.cpu.or(sample.memory)) else { continue };
        let in_force = match resource {
            Resource::Cpu => size.cpu_request.map(|it| it.0),
            Resource::Memory => size.memory_limit.map(|it| it.0),
        };
        let counts = workload.counts(sample.time);
        let now_over = in_force.is_some_and(|it| used > amount(it));
        if counts && now_over && (resource == Resource::Cpu || !over) {
            while day.front().is_some_and(|(time, _)| *time < sample.time - 86_400) {
                day.pop_front();
            }
            let never = used > highest;
            let lately = day.iter().any(|(_, then)| *then >= used);
            let at_once = in_force.is_some_and(|it| before < QUIET * amount(it));
            known.incidents += 1;
            known.never += u64::from(never);
            known.not_lately += u64::from(!never && !lately);
            known.at_once += u64::from(at_once);
            known.either += u64::from(never || at_once);
        }
        // Of the figures an event begins anew with the learning time's end.
        over = now_over && counts;
        (before, highest) = (used, used.max(highest));
        while day.back().is_some_and(|(_, then)| *then <= used) {
            day.pop_back();
        }
        day.push_back((sample.time, used));
        workload.put(0, sample, [hours; 2], |change| size = change.size);
    }
    (workload.runners()[0].figures[usize::from(resource == Resource::Memory)], known)
}

/// The least J of one who knows the future, but not when a use is going to be so much higher than all before it.
fn blind(samples: &[Sample], warmup: i64, resource: Resource) -> Option<f64> {
    let (prices, least) = prices(resource);
    let first = samples.first()?.time;
    let mut interval = Interval::default();
    let (mut range, mut seen, mut counted) = (Range::default(), Range::default(), Vec::new());
    let (mut highest, mut records, mut was_record) = (0.0_f64, 0_u64, false);
    for sample in samples {
        let (Some(hours), Some(used)) = (interval.next(sample.time), sample.cpu.or(sample.memory)) else { continue };
        if sample.time - first >= warmup {
            let record = used > highest.max(least) * RECORD;
            // A kill is a run of samples: a rise from record to record is one.
            records += u64::from(record && (prices.per_sample || !was_record));
            was_record = record;
            seen.put(used, hours);
            let seen_coming = if record { highest } else { used };
            range.put(seen_coming, hours);
            counted.push((seen_coming, hours));
        }
        highest = highest.max(used);
    }
    // The prices are those of the use as it was.
    let mean = (seen.used / seen.hours).max(least);
    let priced = Range { used: seen.used, hours: seen.hours, ..range };
    let mut bound = Bound::new(&priced, &prices, least);
    (0..).zip(&counted).for_each(|(at, (used, hours))| bound.put(at, *used, *hours));
    (seen.hours > 0.0).then(|| (bound.cost() / mean + prices.event * count(records)) / seen.hours)
}
