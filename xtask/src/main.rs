//! `cargo xtask`: the house rules and the generated files, checked, and the tests that need a kernel of their own. Run
//! by CI, and by hand after a change of either.

use std::path::Path;
use std::process::ExitCode;

mod bench;
mod generate;
mod house;
mod tables;
mod vm;

const USAGE: &str = "usage: cargo xtask house              check the rules of ARCHITECTURE.md
       cargo xtask generate [--check]  write the generated files, or check that they are current
       cargo xtask bench [ARGUMENT…]   measure what is shipped (the profile `dist`) and write docs/benchmarks.md (takes minutes)
       cargo xtask tables [quality|speed]  measure the recommender and write its tables into docs (a quarter of an hour)
       cargo xtask vm [TEST [WORD…]]   run the tests that need cgroup v2 in a virtual machine (by way of .ci/vm)";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["house"] => house::check(root),
        ["generate"] => generate::write(root),
        ["generate", "--check"] => generate::check(root),
        ["bench", arguments @ ..] => bench::run(root, arguments),
        ["tables"] => tables::run(root, None),
        ["tables", which @ ("quality" | "speed")] => tables::run(root, Some(which)),
        ["vm", arguments @ ..] => vm::run(root, arguments),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(3)
        }
    }
}
