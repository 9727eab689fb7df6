//! What kubelets, Prometheus and API servers say to the controller: text, JSON, reviews.

#![no_main]

use std::collections::BTreeSet;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use supple_controller::source::exposition::samples;
use supple_controller::source::kubelet::join::{Before, join};
use supple_controller::source::kubelet::{cadvisor, summary};
use supple_controller::source::prometheus::answer::{Kind, read};
use supple_controller::source::prometheus::past::{Gather, Limits, Of};
use supple_controller::source::prometheus::template::{Template, Values};
use supple_controller::webhook::knowledge::Nothing;
use supple_controller::webhook::{create, resize, review};

fuzz_target!(|data: &[u8]| {
    let now = Default::default();
    if let Ok(question) = review::read(data) {
        let refused = resize::judge(&question, &Nothing, now).refused;
        assert!(refused.is_none() && create::judge(&question, &Nothing, now).patch.is_empty(), "nothing is known");
    }
    let kinds = [Kind::Matrix, Kind::Vector, Kind::Scalar];
    let mut wanted = BTreeSet::new();
    let _ = read(data, &kinds, &mut |series| {
        let label = |name| Some(Arc::from(series.metric.get(name)?.as_str()));
        wanted.extend(label("namespace").zip(label("pod")));
        Ok::<(), ()>(())
    });
    let mut gather = Gather::new(&wanted, Limits { series: 100, samples: 1000 });
    let _ = read(data, &kinds, &mut |series| gather.take(Of::Memory, &series));
    for past in gather.finish() {
        assert!(past.samples().is_sorted_by_key(|it| it.time));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    for sample in samples(text) {
        let _ = sample.label("pod");
    }
    let told = summary::read(text, now).into_iter().chain([cadvisor::read(text, now)]);
    let (_, before) = join(told, &Before::default());
    let (readings, _) = join([cadvisor::read(text, now)], &before);
    assert!(readings.iter().all(|it| it.usage.throttled_permille.is_none_or(|it| it <= 1000)));
    let _ = Template::new(text).map(|it| it.fill(&Values { pod: text, ..Values::default() }));
});
