//! What simulated containers do with their time, and how wrong those who sized them were: a table of behaviours. Pure.
//!
//! A behaviour says what a container uses; its size follows from that and from an error that is part of the behaviour.
//! Where a person would have written a round number, so does this.

use super::dice::Dice;
use super::population::{Part, Size};

/// The label that says which of these a pod is.
pub const BEHAVIOUR: &str = "supple.dev/behaviour";

/// One behaviour.
pub(super) struct Life {
    /// The value of [`BEHAVIOUR`].
    pub(super) name: &'static str,
    /// How many of a hundred workloads have it.
    pub(super) share: u64,
    /// A container of it.
    pub(super) make: fn(&mut Dice) -> Part,
}

/// All of them; shares add up to a hundred.
pub(super) const LIVES: [Life; 8] = [
    Life { name: "steady", share: 22, make: steady },
    Life { name: "daily", share: 22, make: daily },
    Life { name: "bursts", share: 12, make: bursts },
    Life { name: "leak", share: 6, make: leak },
    Life { name: "idle", share: 8, make: idle },
    Life { name: "over-provisioned", share: 18, make: over_provisioned },
    Life { name: "under-provisioned", share: 8, make: under_provisioned },
    Life { name: "batch", share: 4, make: batch },
];

/// Draw one.
pub(super) fn draw(dice: &mut Dice) -> &'static Life {
    let mut left = dice.between(0, 99);
    for life in &LIVES {
        match left.checked_sub(life.share) {
            Some(rest) => left = rest,
            None => return life,
        }
    }
    &LIVES[0]
}

const DAY: u64 = 24 * 60;

/// What a service of everyday size uses: millicores and MiB. Most are small.
fn use_of(dice: &mut Dice) -> (u64, u64) {
    let (low, high) = *dice.one_of(&[(5, 20), (10, 40), (20, 80), (20, 80), (50, 200), (100, 400)]);
    let cpu = dice.between(low, high);
    let (low, high) = *dice.one_of(&[(24, 64), (48, 128), (64, 256), (128, 384), (256, 768)]);
    (cpu, dice.between(low, high))
}

/// Requests that are so many percent of what is used, and limits so many percent of the requests.
fn sized(cpu: (u64, u64), memory: (u64, u64), limit: (u64, u64)) -> Size {
    let cpu_request = round(cpu.0 * cpu.1 / 100);
    let memory_request = round(memory.0 * memory.1 / 100);
    Size {
        cpu_request,
        memory_request,
        cpu_limit: cpu_request * limit.0 / 100,
        memory_limit: memory_request * limit.1 / 100,
    }
}

/// Up to two leading digits, the second of them even or 5: what people write.
fn round(amount: u64) -> u64 {
    let mut unit = 1;
    while amount / unit >= 100 {
        unit *= 10;
    }
    let steps = if amount / unit < 10 { 1 } else { 5 };
    amount.div_ceil(unit * steps).max(1) * unit * steps
}

fn part(size: Size, pattern: String) -> Part {
    Part { name: "app".to_owned(), size, pattern: Some(pattern) }
}

/// The same all day, sized with some room.
fn steady(dice: &mut Dice) -> Part {
    let (cpu, memory) = use_of(dice);
    let size = sized((cpu, dice.between(120, 180)), (memory, dice.between(120, 160)), (200, 150));
    part(size, format!("cpu={cpu}m memory={memory}Mi noise={}", dice.between(3, 12)))
}

/// Up by day and down by night, each workload in a time zone of its own; sized for the day.
fn daily(dice: &mut Dice) -> Part {
    let (cpu, memory) = use_of(dice);
    let (night, evening) = (cpu / dice.between(3, 10), memory * 8 / 10);
    let size = sized((cpu, dice.between(110, 150)), (memory, dice.between(120, 150)), (200, 150));
    let phase = dice.between(0, DAY - 1);
    let pattern = format!(
        "cpu=wave({night}m,{cpu}m,24h) memory=wave({evening}Mi,{memory}Mi,24h) noise={} phase={phase}m",
        dice.between(5, 15)
    );
    part(size, pattern)
}

/// Quiet, with short peaks; the limit is for the peaks, the request for the rest.
fn bursts(dice: &mut Dice) -> Part {
    let (cpu, memory) = use_of(dice);
    let peak = cpu * dice.between(4, 10);
    let every = dice.between(5, 60);
    let size = Size { cpu_limit: round(peak * 12 / 10), ..sized((cpu, 150), (memory, 130), (100, 200)) };
    let pattern = format!(
        "cpu=burst({cpu}m,{peak}m,{every}m,{}s) memory={memory}Mi noise={} phase={}m",
        dice.between(15, 120),
        dice.between(5, 15),
        dice.between(0, every)
    );
    part(size, pattern)
}

/// Takes more and more memory until it is killed and begins anew.
fn leak(dice: &mut Dice) -> Part {
    let (cpu, memory) = use_of(dice);
    let size = sized((cpu, 150), (memory, 150), (200, 150));
    let end = size.memory_limit * 12 / 10;
    let pattern = format!("cpu={cpu}m memory=ramp({memory}Mi,{end}Mi,{}h) noise=5", dice.between(6, 72));
    part(size, pattern)
}

/// Somebody may need it again.
fn idle(dice: &mut Dice) -> Part {
    let memory = dice.between(8, 48);
    let size = Size {
        cpu_request: *dice.one_of(&[50, 100, 200, 250]),
        memory_request: *dice.one_of(&[64, 128, 256, 512]),
        ..Size::default()
    };
    let size = Size { cpu_limit: size.cpu_request * 2, memory_limit: size.memory_request, ..size };
    part(size, format!("cpu={}m memory={memory}Mi noise=20", dice.between(1, 3)))
}

/// Sized for a day that never came.
fn over_provisioned(dice: &mut Dice) -> Part {
    let (cpu, memory) = use_of(dice);
    let size = sized((cpu, dice.between(400, 900)), (memory, dice.between(250, 500)), (200, 100));
    let phase = dice.between(0, DAY - 1);
    let pattern =
        format!("cpu=wave({}m,{cpu}m,24h) memory={memory}Mi noise={} phase={phase}m", cpu / 2, dice.between(3, 12));
    part(size, pattern)
}

/// Outgrown: CPU is throttled at its limit, memory is above its request.
fn under_provisioned(dice: &mut Dice) -> Part {
    let (cpu, memory) = use_of(dice);
    let size = sized((cpu, dice.between(25, 60)), (memory, dice.between(50, 90)), (130, 100));
    let size = Size { memory_limit: round(memory * 13 / 10), ..size };
    part(size, format!("cpu={cpu}m memory={memory}Mi noise={}", dice.between(5, 15)))
}

/// Works for some minutes of each hour or so, on as much as it gets.
fn batch(dice: &mut Dice) -> Part {
    let (cpu, memory) = use_of(dice);
    let (cpu, every) = (cpu * 4, dice.between(30, 240));
    let size = sized((cpu, 60), (memory, 200), (200, 200));
    let pattern = format!(
        "cpu=burst(2m,{cpu}m,{every}m,{}m) memory=burst({memory}Mi,{}Mi,{every}m,{}m) noise=10 phase={}m",
        dice.between(3, 15),
        memory * 2,
        dice.between(3, 15),
        dice.between(0, every)
    );
    part(size, pattern)
}

#[cfg(test)]
mod tests {
    use supple_node::runtime::simulated::pattern::Pattern;

    use super::*;

    #[test]
    fn shares_are_of_a_hundred() {
        assert_eq!(LIVES.iter().map(|it| it.share).sum::<u64>(), 100);
    }

    #[test]
    fn every_container_is_one_that_could_run() {
        for (life, seed) in LIVES.iter().flat_map(|life| (0..500).map(move |seed| (life, seed))) {
            let Part { size, pattern, .. } = (life.make)(&mut Dice::new(seed));
            let text = pattern.unwrap();
            let pattern: Pattern = text.parse().unwrap();
            let at = format!("{} of seed {seed}: {text} {size:?}", life.name);
            assert!(size.cpu_request > 0 && size.cpu_request <= size.cpu_limit, "{at}");
            assert!(size.memory_request > 0 && size.memory_request <= size.memory_limit, "{at}");
            // Only what leaks is killed, and it is.
            assert_eq!(pattern.memory.most() > size.memory_limit << 20, life.name == "leak", "{at}");
        }
    }

    #[test]
    fn people_write_round_numbers() {
        #[track_caller]
        fn check(amount: u64, expect: u64) {
            assert_eq!(round(amount), expect);
        }
        check(0, 1);
        check(7, 7);
        check(11, 15);
        check(96, 100);
        check(101, 150);
        check(123, 150);
        check(1234, 1500);
    }
}
