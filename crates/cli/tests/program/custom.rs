//! Stock kubectl and custom resources: definitions are applied, waited for and explained; their objects are applied,
//! compared, listed and deleted as those of any other kind.

use super::cluster::{Kubectl, Up, bad};

const VPA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../apiserver/tests/fixtures/vpa-crds.yaml");
const WIDGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../apiserver/tests/fixtures/widgets.yaml");

const WIDGET: &str = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3, tags: [a]}\n";

fn with(definitions: &str) -> Option<(Up, Kubectl)> {
    let up = Up::new("simulated");
    let kubectl = Kubectl::of(&up)?;
    kubectl.good(["apply", "-f", definitions]);
    kubectl.good(["wait", "--for=condition=established", "crd", "--all", "--timeout=60s"]);
    Some((up, kubectl))
}

#[test]
fn the_vertical_pod_autoscaler_is_a_kind_like_any_other() {
    let Some((_up, kubectl)) = with(VPA) else { return };
    let listed = kubectl.good(["get", "crd", "--no-headers"]);
    assert_eq!(listed.lines().filter(|it| it.contains(".autoscaling.k8s.io")).count(), 2, "{listed}");
    kubectl.create(
        "apiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {name: web}\nspec:\n  targetRef: \
         {apiVersion: apps/v1, kind: Deployment, name: web}\n  updatePolicy: {updateMode: \"Off\"}\n",
    );
    let status = "{\"status\": {\"conditions\": [{\"type\": \"RecommendationProvided\", \"status\": \"True\"}], \
                  \"recommendation\": {\"containerRecommendations\": [{\"containerName\": \"app\", \"target\": \
                  {\"cpu\": \"250m\", \"memory\": \"64Mi\"}}]}}}";
    kubectl.good(["patch", "vpa", "web", "--subresource=status", "--type=merge", "-p", status]);
    let table = kubectl.good(["get", "vpa"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|it| it.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "MODE", "CPU", "MEM", "PROVIDED", "AGE"]);
    assert_eq!(rows[1][..5], ["web", "Off", "250m", "64Mi", "True"]);
    let explained = kubectl.good(["explain", "vpa.spec.resourcePolicy", "--recursive"]);
    assert!(
        explained.contains("containerPolicies\t<[]Object>") && explained.contains("containerName\t<string> -required-"),
        "{explained}"
    );
    let words = kubectl.good(["explain", "verticalpodautoscaler.spec.updatePolicy.updateMode"]);
    assert!(words.contains("How sizes reach pods.") && words.contains("ENUM:\n    Off\n    Initial\n"), "{words}");
    let refused = "{\"spec\": {\"updatePolicy\": {\"updateMode\": \"Sometimes\"}}}";
    let refused = bad(&kubectl.run(["patch", "vpa", "web", "--type=merge", "-p", refused]), 1);
    assert!(refused.contains("spec.updatePolicy.updateMode: Unsupported value: \"Sometimes\""), "{refused}");
}

#[test]
fn apply_and_diff_on_both_sides() {
    let Some((_up, kubectl)) = with(WIDGETS) else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |text: &str| std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    write(WIDGET);
    assert_eq!(kubectl.good(["apply", "-f", path]), "widget.example.com/w created\n");
    assert_eq!(kubectl.good(["apply", "-f", path]), "widget.example.com/w unchanged\n");
    assert_eq!(kubectl.good(["diff", "-f", path]), "");
    write(&WIDGET.replace("size: 3", "size: 4"));
    let difference = kubectl.run(["diff", "-f", path]);
    let shown = super::cluster::text(&difference.stdout);
    assert!(
        difference.status.code() == Some(1) && shown.contains("-  size: 3") && shown.contains("+  size: 4"),
        "{shown}"
    );
    assert_eq!(kubectl.good(["apply", "-f", path]), "widget.example.com/w configured\n");
    assert_eq!(kubectl.path("wd/w", "{.spec.size} {.spec.color} {.metadata.generation}"), "4 red 2");
    kubectl.good(["apply", "--server-side", "--force-conflicts", "-f", path]);
    assert!(kubectl.good(["diff", "--server-side", "--force-conflicts", "-f", path]).is_empty());
    // A typing mistake is found before anything is written.
    write(&WIDGET.replace("tags:", "tagz:"));
    let refused = bad(&kubectl.run(["apply", "-f", path]), 1);
    assert!(refused.contains("unknown field \"spec.tagz\""), "{refused}");
    let refused = bad(&kubectl.run(["patch", "wd", "w", "-p", "{\"spec\": {\"size\": 5}}", "--type=strategic"]), 1);
    assert!(refused.contains("application/merge-patch+json"), "{refused}");
}

#[test]
fn objects_are_listed_scaled_and_deleted() {
    let Some((_up, kubectl)) = with(WIDGETS) else { return };
    kubectl.create(WIDGET);
    kubectl.good(["scale", "widget", "w", "--replicas=7"]);
    assert_eq!(kubectl.path("widgets.example.com/w", "{.spec.size}"), "7");
    assert!(kubectl.good(["get", "all"]).contains("widget.example.com/w"), "it is in the category");
    assert_eq!(kubectl.good(["get", "wd", "--field-selector=spec.color=red", "-o", "name"]), "widget.example.com/w\n");
    assert_eq!(kubectl.good(["get", "wd", "--field-selector=spec.color=blue", "-o", "name"]), "");
    assert!(kubectl.good(["api-resources", "--api-group=example.com"]).contains("widgets   wd"));
    kubectl.good(["label", "wd", "w", "seen=yes"]);
    kubectl.good(["delete", "crd", "widgets.example.com", "--timeout=60s"]);
    // Past kubectl's memory of what there was.
    let gone = bad(&kubectl.run(["get", "--raw", "/apis/example.com/v1/widgets"]), 1);
    assert!(gone.contains("the server could not find the requested resource"), "{gone}");
    assert!(bad(&kubectl.run(["get", "crd", "widgets.example.com"]), 1).contains("not found"));
}
