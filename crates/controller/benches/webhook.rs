//! How long the webhook takes to answer: `cargo bench -p supple-controller --bench webhook`. What is to be kept is 50 ms; an
//! API server's own share (TLS, JSON of its own) is not in it.

mod reviews;

use reviews::Review;

fn main() {
    divan::main();
}

fn ask(bencher: divan::Bencher<'_, '_>, review: &Review) {
    let router = reviews::router();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    let bytes = divan::counter::BytesCount::of_str(&review.body);
    bencher.counter(bytes).bench(|| runtime.block_on(review.put(&router)));
}

#[divan::bench]
fn a_resize(bencher: divan::Bencher<'_, '_>) {
    ask(bencher, &Review::of_a_resize());
}

#[divan::bench]
fn a_new_pod(bencher: divan::Bencher<'_, '_>) {
    ask(bencher, &Review::of_a_new_pod());
}
