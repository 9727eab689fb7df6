//! `cargo xtask`: the house rules and the generated files, checked. Run by CI, and by hand after a change of either.

use std::path::Path;
use std::process::ExitCode;

mod generate;
mod house;

const USAGE: &str = "usage: cargo xtask house              check the rules of ARCHITECTURE.md
       cargo xtask generate [--check]  write the generated files, or check that they are current";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["house"] => house::check(root),
        ["generate"] => generate::write(root),
        ["generate", "--check"] => generate::check(root),
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
