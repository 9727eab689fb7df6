//! Prometheus, and whoever speaks its query API (Thanos, Mimir, VictoriaMetrics, …): the past of containers by range queries,
//! and single numbers by instant queries.
//!
//! * [`template`]: queries with `$placeholders`. [`range`]: a long time in pieces that a server answers.
//! * [`client`]: one question over HTTP, in bounds; it tries again nowhere, but says whether and when that is worth it.
//! * [`answer`]: answers, read series by series. [`past`]: two of them, CPU and memory, into samples.
//! * [`part`]: so few pods that their past fits. [`history`]: all of that for one part after the other, with patience. [`guards`]: what is watched after a resize.

pub mod answer;
pub mod client;
pub mod guards;
pub mod history;
pub mod part;
pub mod past;
pub mod range;
pub mod template;
