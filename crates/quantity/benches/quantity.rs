//! What a usual quantity costs to read and to write; the budget is 100 ns each.

use supple_quantity::Quantity;

const USUAL: [&str; 10] = ["100m", "250m", "1", "2", "1500m", "64Mi", "128Mi", "1Gi", "16Gi", "512M"];

fn main() {
    divan::main();
}

#[divan::bench(args = USUAL)]
fn parse(text: &str) -> Quantity {
    divan::black_box(text).parse().unwrap_or_default()
}

#[divan::bench(args = USUAL)]
fn print(bencher: divan::Bencher, text: &str) {
    let quantity: Quantity = text.parse().unwrap_or_default();
    bencher.bench(|| divan::black_box(&quantity).to_string());
}
