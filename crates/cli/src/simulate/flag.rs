//! What `--simulate` and `--speed` say, and the sentences for what they must not.

use std::num::NonZeroU32;
use std::str::FromStr;

use supple_cluster::Speed;
use supple_cluster::simulate::PODS_PER_NODE;

/// More nodes and pods than anybody has tried are a slip of the finger.
const MOST_NODES: u32 = 5_000;
const MOST_PODS: u32 = 200_000;

/// Faster than an hour a second nothing can be seen any more, and nothing gets done.
const FASTEST: u32 = 3_600;

/// `nodes=N,pods=N[,seed=N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulateFlag {
    /// How many nodes.
    pub nodes: u32,
    /// How many pods; left out: as many as were recorded.
    pub pods: Option<u32>,
    /// Which of the many possible clusters.
    pub seed: u64,
}

impl FromStr for SimulateFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected =
            "expected nodes=NUMBER,pods=NUMBER[,seed=NUMBER], each at most once, for example nodes=500,pods=20000";
        let (mut nodes, mut pods, mut seed) = (None, None, None);
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("{part:?} has no value; {expected}"));
            };
            let count = |most: u32| match value.parse::<u32>() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                Ok(_) => Err(format!("{part:?} is not from 1 to {most}")),
                Err(_) => Err(format!("{value:?} is not a number of {name}; {expected}")),
            };
            let twice = match name {
                "nodes" => nodes.replace(count(MOST_NODES)?).is_some(),
                "pods" => pods.replace(count(MOST_PODS)?).is_some(),
                "seed" => {
                    let number = value.parse().map_err(|_| format!("{value:?} is not a seed; {expected}"))?;
                    seed.replace(number).is_some()
                }
                _ => return Err(format!("{name:?} is unknown; {expected}")),
            };
            if twice {
                return Err(format!("{name:?} is given twice; {expected}"));
            }
        }
        let nodes = nodes.ok_or_else(|| format!("nodes=NUMBER is missing; {expected}"))?;
        Ok(Self { nodes, pods, seed: seed.unwrap_or(1) })
    }
}

/// Whether so many pods have a place on so many nodes.
///
/// # Errors
/// The sentence that says how many nodes would do.
pub fn fits(nodes: u32, pods: u32, per_node: u32) -> Result<(), String> {
    if u64::from(nodes) * u64::from(per_node) >= u64::from(pods) {
        return Ok(());
    }
    let enough = pods.div_ceil(per_node);
    let more = if per_node == PODS_PER_NODE { "; or give nodes more with --node-capacity pods=…" } else { "" };
    Err(format!("{pods} pods do not fit on {nodes} nodes of {per_node} pods each: give at least nodes={enough}{more}"))
}

/// What `--speed` says.
///
/// # Errors
/// For what is no such number.
pub fn speed(text: &str) -> Result<Speed, String> {
    let times = text.strip_suffix('x').unwrap_or(text).parse::<NonZeroU32>().ok().filter(|it| it.get() <= FASTEST);
    let times = times.ok_or_else(|| format!("{text:?} is not a whole number from 1 to {FASTEST}, for example 60"))?;
    Ok(Speed::times(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(u32, Option<u32>, u64), &str>) {
        match (text.parse::<SimulateFlag>(), expect) {
            (Ok(flag), Ok(expect)) => assert_eq!((flag.nodes, flag.pods, flag.seed), expect, "{text}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
            (got, expect) => panic!("{text}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn nodes_pods_and_seed() {
        check("nodes=500,pods=20000", Ok((500, Some(20_000), 1)));
        check("pods=1,seed=7,nodes=1", Ok((1, Some(1), 7)));
        check("nodes=3", Ok((3, None, 1)));
        check("pods=3", Err("nodes=NUMBER is missing"));
        check("", Err("\"\" has no value"));
        check("nodes=0,pods=1", Err("\"nodes=0\" is not from 1 to 5000"));
        check("nodes=1,pods=1000000", Err("\"pods=1000000\" is not from 1 to 200000"));
        check("nodes=-1", Err("\"-1\" is not a number of nodes"));
        check("nodes=many", Err("\"many\" is not a number of nodes"));
        check("nodes=1,nodes=2", Err("\"nodes\" is given twice"));
        check("nodes=1,cores=2", Err("\"cores\" is unknown"));
        check("nodes=1,seed=x", Err("\"x\" is not a seed"));
    }

    #[test]
    fn pods_need_nodes() {
        assert_eq!(fits(500, 20_000, 110), Ok(()));
        assert_eq!(fits(1, 110, 110), Ok(()));
        assert!(fits(10, 20_000, 110).unwrap_err().contains("give at least nodes=182; or"));
        assert!(fits(1, 11, 10).unwrap_err().ends_with("give at least nodes=2"));
    }

    #[test]
    fn speeds() {
        assert_eq!(speed("60").map(Speed::factor), Ok(60));
        assert_eq!(speed("60x").map(Speed::factor), Ok(60));
        for wrong in ["0", "-1", "1.5", "fast", "3601", ""] {
            assert!(speed(wrong).unwrap_err().contains("from 1 to 3600"), "{wrong}");
        }
    }
}
