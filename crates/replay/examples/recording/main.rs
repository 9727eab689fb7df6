//! A recording of any length on standard output, always the same: something to try `supple replay` with, and to measure.
//!
//! `cargo run --release -p supple-replay --example recording -- [DAYS [CONTAINERS [SECONDS [pods]]]] > recording.csv` (default 30
//! days, 1,000 containers, a sample a minute). Rows come in the order of time, or with `pods` one pod after another.

mod rows;

use std::io::BufWriter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |default: i64| args.next().map_or(Ok(default), |it| it.parse());
    let (days, containers, seconds) = (next(30)?, next(1000)?, next(60)?);
    let by_pod = args.next().is_some_and(|it| it == "pods");
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    rows::write(&mut out, &rows::Extent { days, containers, seconds, by_pod })?;
    Ok(())
}
