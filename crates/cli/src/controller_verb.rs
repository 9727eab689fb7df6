//! `supple controller`: the loop on any cluster, its table on a terminal, its log everywhere; probes, metrics and the webhook
//! on ports of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kube::Client;
use supple_controller::history_file::HistoryFile;
use supple_controller::lease::candidate::Times;
use supple_controller::lease::elect::{self, Election, alone, elect};
use supple_controller::metrics::Metrics;
use supple_controller::run::{self, Clock, Options, Outlets};
use supple_controller::serve::{Bounds, endpoints, serve};
use supple_controller::snapshot::Snapshot;
use supple_controller::source::kubelet::sweep::Pace;
use supple_controller::source::prometheus::client::{self, Prometheus};
use supple_controller::source::prometheus::history::Queries;
use supple_controller::webhook::registration::Registered;
use supple_controller::webhook::{publish, server};
use supple_controller::world::Settings;
use supple_controller::world::knowledge::Shared;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::ControllerArgs;
use crate::connect::{Connection, chain, connect_counted};
use crate::exit::Failure;
use crate::judgement::acting::{Newcomer, already};
use crate::log::LogLines;
use crate::values::Listen;
use crate::{live, pages, signals};

/// Run it until a signal.
pub async fn controller(args: ControllerArgs, logs: &LogLines) -> Result<(), Failure> {
    pages::small();
    let webhook_at = webhook_at(args.listen_webhook, args.webhook_service.as_ref())?;
    let stop = signals::stop_token()?;
    let mut outlets = Outlets::new(args.interval);
    let Connection { client, .. } = connect_counted(&args.connection, &outlets.metrics).await?;
    // Asked once before the loop begins: a loop that retries for ever against nothing would look like one that works.
    let version = client
        .apiserver_version()
        .await
        .map_err(|error| Failure::unreachable(format!("cannot reach the cluster: {}", chain(&error))))?;
    crate::say(&format!("connected to Kubernetes {}", version.git_version));
    let pod = std::env::var("POD_NAME").ok().filter(|it| !it.is_empty());
    let newcomer = Newcomer { namespace: &args.namespace, elects: args.leader_election, pod: pod.as_deref() };
    if let Some(why) = already(&client, newcomer).await {
        return Err(Failure::refused(why));
    }
    let clock: Clock = Arc::new(jiff::Timestamp::now);
    let audit = match args.audit_file.as_deref() {
        Some(path) => Some(open_audit(path).await?),
        None => None,
    };
    let history = match args.history_file.as_deref() {
        Some(path) => Some(HistoryFile::open(path).map_err(|error| Failure::refused(error.to_string()))?),
        None => None,
    };
    let prometheus = prometheus(&args)?;
    // Who we are in an election, and to whoever reads events: the pod, or the machine.
    let instance = pod.unwrap_or_else(supple_cluster::machine::node_name);
    // The lease is given back after the loop has ended, not before: another may act from then on.
    let ended = CancellationToken::new();
    let (leadership, giving_back) = if args.leader_election {
        let options = elect::Options {
            namespace: args.namespace.clone(),
            name: supple_api::names::LEASE.to_owned(),
            identity: instance.clone(),
            times: Times::default(),
        };
        let Election { leadership, ended: giving_back } = elect(client.clone(), options, clock.clone(), ended.clone());
        (leadership, Some(giving_back))
    } else {
        (alone(), None)
    };
    let mut servers = JoinSet::new();
    for (address, router) in [
        (args.listen_probes, endpoints::probes(outlets.health.clone())),
        (args.listen_metrics, endpoints::metrics(outlets.metrics.clone(), clock.clone())),
    ] {
        if let Listen::At(address) = address {
            let listener = bind(address).await?;
            servers.spawn(serve(listener, None, router, Bounds::default(), stop.clone()));
        }
    }
    let registered = Registered::default();
    if let Some((address, (namespace, name))) = webhook_at {
        let listener = bind(address).await?;
        let knowledge = outlets.knowledge.get_or_insert_default().clone();
        let given = args.webhook_certificate.clone();
        let wanted = publish::Wanted { given, ..publish::Wanted::behind(&args.namespace, namespace, name) };
        let outlets = (knowledge, registered.clone(), &outlets.metrics);
        webhook(&client, listener, wanted, &clock, &leadership, outlets, &mut servers, &stop);
    }
    let options = Options {
        interval: args.interval,
        settings: Settings {
            own_namespace: Arc::from(args.namespace.as_str()),
            max_in_flight: args.max_in_flight,
            autoscalers: args.vpa,
            namespaced_guards: args.namespaced_guards,
            registered,
            ..Settings::default()
        },
        instance,
        clock: clock.clone(),
        audit,
        leadership,
        kubelets: args.kubelet_stats.then(Pace::default),
        prometheus,
        history,
        outlets,
    };
    let (rows, shown) = watch::channel(Snapshot::default());
    let (ran, shown) = tokio::join!(ends(run::run(client, options, rows, stop.clone()), &stop), async {
        let shown = live::show(shown, logs, &clock, stop.clone()).await;
        stop.cancel();
        shown
    });
    ended.cancel();
    if let Some(giving_back) = giving_back {
        let _ = giving_back.await; // whether it was given back or not, we end
    }
    while servers.join_next().await.is_some() {}
    ran.map_err(Failure::refused)?;
    Ok(shown?)
}

/// The loop's end is everybody's: were it only the loop's, the probes would be answered as before.
pub async fn ends<T>(work: impl Future<Output = T>, stop: &CancellationToken) -> T {
    let ended = work.await;
    stop.cancel();
    ended
}

/// Namespace and name of one.
type Service = (String, String);

/// Where the webhook is served, and behind which Service: one without the other would serve nobody.
fn webhook_at(listen: Listen, service: Option<&Service>) -> Result<Option<(SocketAddr, &Service)>, Failure> {
    let usage = |why: &str| Err(Failure::Usage(why.to_owned()));
    match (listen, service) {
        (Listen::At(address), Some(service)) => Ok(Some((address, service))),
        (Listen::None, None) => Ok(None),
        (Listen::At(_), None) => {
            usage("--listen-webhook requires --webhook-service NAMESPACE/NAME, the Service that the API server calls")
        }
        (Listen::None, Some(_)) => usage("--webhook-service requires --listen-webhook ADDR:PORT"),
    }
}

/// The Prometheus that was named, and the queries it is asked.
fn prometheus(args: &ControllerArgs) -> Result<Option<(Prometheus, Queries)>, Failure> {
    let Some(url) = &args.prometheus else { return Ok(None) };
    let own = args.prometheus_query.iter().map(|(name, query)| (name.as_str(), query.as_str()));
    let queries = Queries::with(own).map_err(|error| Failure::Usage(format!("--prometheus-query: {error}")))?;
    let options = client::Options {
        headers: args.prometheus_header.clone(),
        bearer_file: args.prometheus_bearer_file.clone(),
        ca_file: args.prometheus_ca.clone(),
        ..client::Options::new(url)
    };
    Prometheus::new(options).map(|it| Some((it, queries))).map_err(|error| Failure::Usage(error.to_string()))
}

/// Serve the webhook, and keep its certificate and its registrations as they have to be.
#[expect(clippy::too_many_arguments, reason = "one step of two callers; a struct would only rename them")]
pub fn webhook(
    client: &Client,
    listener: TcpListener,
    wanted: publish::Wanted,
    clock: &Clock,
    leadership: &watch::Receiver<supple_controller::lease::elect::Leadership>,
    (knowledge, registered, metrics): (Shared, Registered, &Metrics),
    servers: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let (tls_sender, tls) = watch::channel(None);
    let router = server::router(Arc::new(knowledge), metrics.clone(), clock.clone(), &wanted.namespace);
    servers.spawn(publish::run(
        client.clone(),
        wanted,
        clock.clone(),
        leadership.clone(),
        publish::Told { tls: tls_sender, registered, metrics: metrics.clone() },
        stop.clone(),
    ));
    servers.spawn(serve(listener, Some(tls), router, server::bounds(), stop.clone()));
}

/// Listen there.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener
        .map_err(|error| Failure::unreachable(format!("cannot listen on {address}: {error}; choose another address")))
}

/// The audit file, to be added to.
async fn open_audit(path: &Path) -> Result<tokio::fs::File, Failure> {
    let open = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await;
    open.map_err(|error| Failure::refused(format!("cannot open the audit file {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_needs_an_address_and_a_service() {
        let (at, service) = (Listen::At(([127, 0, 0, 1], 9443).into()), ("supple".to_owned(), "hook".to_owned()));
        let said = |it: Result<Option<_>, Failure>| it.map(|it| it.is_some()).map_err(|it| format!("{it:?}"));
        assert_eq!(said(webhook_at(at, Some(&service))), Ok(true));
        assert_eq!(said(webhook_at(Listen::None, None)), Ok(false));
        assert!(said(webhook_at(at, None)).is_err_and(|it| it.contains("--webhook-service NAMESPACE/NAME")));
        assert!(
            said(webhook_at(Listen::None, Some(&service))).is_err_and(|it| it.contains("--listen-webhook ADDR:PORT"))
        );
    }
}
