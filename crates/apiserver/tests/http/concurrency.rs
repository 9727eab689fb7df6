//! Many writers at once: no write is lost, no revision is given twice, no quota is spent twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Harness, JSON_PATCH, STRATEGIC, Watch, cpu, pod};

const MAPS: &str = "/api/v1/namespaces/n/configmaps";
const PODS: &str = "/api/v1/namespaces/n/pods";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_who_name_a_revision_one_wins() {
    let it = Harness::new().await;
    let mut stored = it.post(MAPS, json!({"metadata": {"name": "m"}})).await.expect(201);
    for round in 0..20 {
        let writers = (0..8).map(|writer| {
            let (it, mut body) = (it.clone(), stored.clone());
            body["data"] = json!({"writer": format!("{round}-{writer}")});
            tokio::spawn(async move { it.put(&format!("{MAPS}/m"), body).await })
        });
        let replies: Vec<_> = futures::future::join_all(writers).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<&Value> = replies.iter().filter(|reply| reply.code == 200).map(|reply| &reply.body).collect();
        assert_eq!(winners.len(), 1);
        assert!(replies.iter().all(|reply| matches!(reply.code, 200 | 409)));
        stored = winners[0].clone();
        assert_eq!(it.get(&format!("{MAPS}/m")).await.expect(200), stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_name_none_all_take_part() {
    let it = Harness::new().await;
    it.post(MAPS, json!({"metadata": {"name": "m"}, "data": {"k": "x"}})).await.expect(201);
    let mut watch = Watch::begin(&it, &format!("{MAPS}?watch=1&resourceVersion={}", it.server.revision()), &[]).await;
    let writers = (0..200).map(|writer| {
        let it = it.clone();
        let add = json!([{"op": "add", "path": format!("/data/k{writer}"), "value": "x"}]);
        tokio::spawn(async move {
            let written = it.patch(&format!("{MAPS}/m"), JSON_PATCH, add).await.expect(200);
            written["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
        })
    });
    let revisions: Vec<String> = futures::future::join_all(writers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(revisions.iter().collect::<BTreeSet<_>>().len(), 200, "each write has a revision of its own");
    let stored = it.get(&format!("{MAPS}/m")).await.expect(200);
    assert_eq!(stored["data"].as_object().map(serde_json::Map::len), Some(201));
    let mut last = 0;
    for size in 1..=200 {
        let event = watch.next().await.unwrap();
        let revision: u64 = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(revision > last, "events come in the order of revisions");
        assert_eq!(event["object"]["data"].as_object().map(serde_json::Map::len), Some(size + 1));
        last = revision;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quota_is_not_spent_twice() {
    let it = Harness::new().await;
    let quotas = "/api/v1/namespaces/n/resourcequotas";
    it.post(quotas, json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "1"}}})).await.expect(201);
    it.set_status(&format!("{quotas}/q"), json!({"hard": {"requests.cpu": "1"}, "used": {"requests.cpu": "0"}})).await;
    let race = |count: usize, act: &dyn Fn(usize) -> tokio::task::JoinHandle<u16>| {
        let tasks: Vec<_> = (0..count).map(act).collect();
        async move { futures::future::join_all(tasks).await.into_iter().map(Result::unwrap).collect::<Vec<u16>>() }
    };
    let codes = race(20, &|index| {
        let it = it.clone();
        tokio::spawn(
            async move { it.post(PODS, pod(&format!("p{index}"), json!({"cpu": "100m"}), Value::Null)).await.code },
        )
    })
    .await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 10, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 403).count(), 10, "{codes:?}");
    // Room for five times 20m more.
    it.set_status(&format!("{quotas}/q"), json!({"used": {"requests.cpu": "900m"}})).await;
    let pods: Vec<String> = it.get(PODS).await.expect(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let codes = race(pods.len(), &|index| {
        let (it, path) = (it.clone(), format!("{PODS}/{}/resize", pods[index]));
        tokio::spawn(async move { it.patch(&path, STRATEGIC, cpu("120m")).await.code })
    })
    .await;
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 5, "{codes:?}");
    assert_eq!(it.get(&format!("{quotas}/q")).await.expect(200)["status"]["used"]["requests.cpu"], "1");
}

/// What a client that watches believes is there.
async fn mirror(watch: &mut Watch, until: &str) -> BTreeMap<String, Value> {
    let mut believed = BTreeMap::new();
    loop {
        let event = watch.next().await.unwrap();
        let object = event["object"].clone();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let known = believed.contains_key(&name);
        match event["type"].as_str().unwrap() {
            "ADDED" => assert!(!known, "{name} was added twice"),
            "MODIFIED" => assert!(known, "{name} was changed before it was added"),
            "DELETED" => {
                assert!(believed.remove(&name).is_some(), "{name} was removed before it was added");
                continue;
            }
            other => panic!("{other}"),
        }
        if name == until {
            return believed;
        }
        believed.insert(name, object);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_watches_knows_what_who_lists_sees() {
    let it = Harness::new().await;
    let label = |round: usize| if round.is_multiple_of(3) { "out" } else { "in" };
    let mut watches = Vec::new();
    for selector in ["", "&labelSelector=side%3Din"] {
        watches.push((selector, Watch::begin(&it, &format!("{MAPS}?watch=1{selector}"), &[]).await));
    }
    let writers = (0..4_usize).map(|writer| {
        let it = it.clone();
        tokio::spawn(async move {
            for round in 0..150_usize {
                // Names are shared between writers, so most of this meets somebody else's work.
                let name = format!("m{}", (round * 7 + writer * 3) % 11);
                let body = json!({"metadata": {"name": name, "labels": {"side": label(round + writer)}}, "data": {"by": format!("{writer}-{round}")}});
                let path = format!("{MAPS}/{name}");
                let reply = match round % 5 {
                    0 | 1 => it.post(MAPS, body).await,
                    2 | 3 => it.patch(&path, STRATEGIC, body).await,
                    _ => it.delete(&path).await,
                };
                assert!(matches!(reply.code, 200 | 201 | 404 | 409), "{}", reply.text);
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    it.post(MAPS, json!({"metadata": {"name": "end", "labels": {"side": "in"}}})).await.expect(201);
    for (selector, watch) in &mut watches {
        let believed = mirror(watch, "end").await;
        let list = it.get(&format!("{MAPS}?limit=500{selector}")).await.expect(200);
        let listed: BTreeMap<String, Value> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["metadata"]["name"] != "end")
            .map(|item| {
                let mut item = item.clone();
                item["apiVersion"] = "v1".into();
                item["kind"] = "ConfigMap".into();
                (item["metadata"]["name"].as_str().unwrap().to_owned(), item)
            })
            .collect();
        assert_eq!(believed, listed, "{selector}");
    }
}
