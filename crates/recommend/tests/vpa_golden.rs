//! The golden vectors of the incumbent: what VPA's own code, fed a minute at a time, recommends.
//!
//! One sample a minute from 2026-01-05T07:30Z on, CPU before memory, kills half a minute after the sample.

use supple_recommend::baseline::vpa::model::{Estimate, Model};

const START: i64 = 1_767_598_200;
const MEBI: i64 = 1_048_576;
const MINUTES_A_DAY: i64 = 1440;

/// A scenario: so many minutes; use (thousandths of a core, bytes) by minute; kills (minute, request in bytes).
fn run(minutes: i64, usage: impl Fn(i64) -> (i64, i64), kills: &[(i64, i64)]) -> Model {
    let mut model = Model::default();
    for minute in 0..minutes {
        let time = START + minute * 60;
        let (cpu, memory) = usage(minute);
        model.cpu(0, time, float(cpu));
        model.memory(0, time, float(memory));
        for (_, request) in kills.iter().filter(|(at, _)| *at == minute) {
            model.out_of_memory(0, time + 30, float(*request));
        }
    }
    model
}

#[expect(clippy::cast_precision_loss)]
fn float(value: i64) -> f64 {
    value as f64
}

#[track_caller]
fn check_cpu(name: &str, model: &Model, wanted: [i64; 3]) {
    assert_eq!(triple(model.estimate(1).0), wanted, "{name}: CPU target/lower/upper");
}

#[track_caller]
fn check_memory(name: &str, model: &Model, wanted: [i64; 3]) {
    assert_eq!(triple(model.estimate(1).1), wanted, "{name}: memory target/lower/upper");
}

fn triple(it: Estimate) -> [i64; 3] {
    [it.target, it.lower, it.upper]
}

fn constant(_: i64) -> (i64, i64) {
    (100, 300 * MEBI)
}

#[test]
fn empty_is_the_floor() {
    let model = Model::default();
    check_cpu("EMPTY", &model, [25; 3]);
    check_memory("EMPTY", &model, [262_144_000; 3]);
}

#[test]
fn constant_use_over_time() {
    const MAX: i64 = 100_000_000_000_000;
    for (minutes, cpu, memory) in [
        (1, [126, 25, MAX], [380_258_472, 262_144_000, MAX]),
        (2, [126, 25, 181_566], [380_258_472, 262_144_000, 547_952_458_152]),
        (5, [126, 68, 45_486], [380_258_472, 262_144_000, 137_273_308_392]),
        (30, [126, 114, 6_382], [380_258_472, 345_132_294, 19_262_058_460]),
        (60, [126, 120, 3_201], [380_258_472, 362_354_793, 9_661_143_212]),
        (720, [126, 125, 378], [380_258_472, 378_739_886, 1_141_833_158]),
        (1440, [126, 125, 252], [380_258_472, 379_498_567, 760_781_195]),
        (2880, [126, 125, 189], [380_258_472, 379_878_366, 570_453_748]),
        (10_080, [126, 125, 144], [380_258_472, 380_149_839, 434_586_500]),
        (11_520, [126, 125, 141], [380_258_472, 380_163_416, 427_794_907]),
    ] {
        let model = run(minutes, constant, &[]);
        let name = format!("CONST {minutes} min");
        check_cpu(&name, &model, cpu);
        check_memory(&name, &model, memory);
        assert_eq!(model.samples(), u64::try_from(minutes).unwrap());
    }
}

#[test]
fn shapes() {
    let low = run(MINUTES_A_DAY, |_| (1, 10 * MEBI), &[]);
    check_cpu("LOW", &low, [25; 3]);
    check_memory("LOW", &low, [262_144_000; 3]);

    let step = run(MINUTES_A_DAY, |m| if m < 720 { (100, 300 * MEBI) } else { (1000, 600 * MEBI) }, &[]);
    check_cpu("STEP", &step, [1168, 1165, 2336]);
    check_memory("STEP", &step, [764_046_746, 762_519_882, 1_528_624_448]);

    let square = run(8 * MINUTES_A_DAY, |m| if m % 1440 < 720 { (800, 1024 * MEBI) } else { (100, 512 * MEBI) }, &[]);
    check_cpu("SQUARE", &square, [920, 125, 1035]);
    check_memory("SQUARE", &square, [1_238_659_775, 1_238_350_141, 1_393_505_688]);

    let sine = run(
        3 * MINUTES_A_DAY,
        |m| {
            let wave = (float(m) * std::f64::consts::TAU / 1440.0).sin();
            #[expect(clippy::cast_possible_truncation)]
            let values = ((500.0 + 400.0 * wave) as i64, ((512.0 + 256.0 * wave) * float(MEBI)) as i64);
            values
        },
        &[],
    );
    check_cpu("SINE", &sine, [1038, 475, 1384]);
    check_memory("SINE", &sine, [978_270_031, 977_618_026, 1_304_435_542]);

    let spike = run(4 * MINUTES_A_DAY, |m| (if m % 60 < 5 { 2000 } else { 50 }, 200 * MEBI + m / 60 * MEBI), &[]);
    check_cpu("SPIKE", &spike, [63, 62, 3007]);
    check_memory("SPIKE", &spike, [380_258_472, 380_068_381, 475_339_597]);

    let week = 7 * MINUTES_A_DAY;
    let drop = run(8 * MINUTES_A_DAY, |m| if m < week { (1000, 2048 * MEBI) } else { (100, 200 * MEBI) }, &[]);
    check_cpu("DROP", &drop, [1168, 125, 1314]);
    check_memory("DROP", &drop, [2_539_377_048, 262_144_000, 2_856_826_735]);

    let ramp = run(8 * MINUTES_A_DAY, |m| (10 * (m / 1440 + 1), (m / 1440 + 1) * 100 * MEBI), &[]);
    check_cpu("RAMP", &ramp, [93, 92, 104]);
    check_memory("RAMP", &ramp, [978_270_031, 978_025_488, 1_100_564_400]);
}

#[test]
fn kills() {
    let steady = |m: i64| (100, if m < 0 { 0 } else { 290 * MEBI });
    let once = run(120, steady, &[(60, 300 * MEBI)]);
    check_cpu("OOM", &once, [126, 123, 1650]);
    check_memory("OOM", &once, [511_772_986, 499_608_463, 6_704_656_177]);

    let large = run(120, |_| (100, 900 * MEBI), &[(60, 1024 * MEBI)]);
    check_memory("OOM 1Gi", &large, [1_555_165_137, 1_518_199_838, 20_373_970_156]);

    let thrice = run(120, steady, &[(60, 300 * MEBI), (61, 300 * MEBI), (62, 300 * MEBI)]);
    check_memory("OOM x3", &thrice, [511_772_986, 499_608_463, 6_704_656_177]);

    let chain = run(120, steady, &[(60, 300 * MEBI), (70, 460 * MEBI), (80, 670 * MEBI)]);
    check_memory("OOM chain", &chain, [978_270_031, 955_017_167, 12_816_159_481]);

    let forgotten = run(8 * MINUTES_A_DAY, steady, &[(60, 300 * MEBI)]);
    check_memory("OOM then 8 d", &forgotten, [351_198_544, 351_110_753, 395_102_173]);
}

#[test]
fn a_window_that_begins_with_nothing_stays_deaf() {
    let model = run(23 * 60, |m| (100, if m == 0 { 0 } else { 500 * MEBI }), &[]);
    check_memory("ZERO-FIRST", &model, [262_144_000; 3]);
}
