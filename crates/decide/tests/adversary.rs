//! What must hold of a cluster that lives, whatever befalls it: see `decide/world.rs` for what each action is held to.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "decide/cases.rs"]
mod cases;

#[path = "decide/events.rs"]
mod events;

#[path = "decide/laws.rs"]
mod laws;

#[path = "decide/stage.rs"]
mod stage;

#[path = "decide/times.rs"]
mod times;

#[path = "decide/wild.rs"]
mod wild;

#[path = "decide/world.rs"]
mod world;

use std::sync::Arc;

use jiff::SignedDuration;
use proptest::prelude::*;
use supple_decide::check::Check;
use supple_decide::numbers::Numbers;
use supple_decide::round::{Outcome, Round};

use laws::told;
use stage::Stage;
use times::times;
use wild::{Wild, draws, wild};
use world::{World, rule};

/// Live through what happens, a round after each time, and then through rounds in which nothing does.
fn live(wild: &Wild) -> Result<World, TestCaseError> {
    live_from(wild, Stage::new())
}

fn live_from(wild: &Wild, empty: Stage) -> Result<World, TestCaseError> {
    let mut world = World::of(wild, empty);
    for (round, events) in wild.events.iter().enumerate() {
        for event in events {
            world.happens(event);
        }
        world.round()?;
        world.pass([1, 6, 2, 61, 15, 1][round % 6]);
    }
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 300, ..times(40) })]

    #[test]
    fn whatever_happens_no_action_breaks_a_rule(wild in wild(0..16)) {
        live(&wild)?;
    }

    #[test]
    fn nothing_depends_on_the_date(wild in wild(1..6), seconds in 1_i64..100_000_000) {
        let now = live(&wild)?;
        let start = Stage::new().now + SignedDuration::from_secs(seconds);
        let later = live_from(&wild, Stage::starting(start))?;
        prop_assert_eq!(now.done, later.done);
    }

    #[test]
    fn what_cannot_wait_waits_for_no_neighbour(wild in wild(0..1)) {
        let mut world = World::of(&wild, Stage::new());
        world.make_room();
        let keys: Vec<_> = world.stage.scene.pods.keys().cloned().collect();
        let short: Vec<_> = keys.into_iter().filter(|it| world.runs_short(it, "app")).collect();
        world.measure();
        let beside = world.stage.decide();
        for subject in world.stage.scene.workloads.values_mut() {
            subject.needs.retain(|name, _| **name == *"app");
        }
        let alone = world.stage.decide();
        for key in short {
            let raise = |round: &Round| {
                let action = round.actions.iter().find(|it| it.pod == key)?;
                let next = Numbers::of(action.what.new_change()?.containers.get("app")?).memory_request;
                let own = world.stage.scene.pods[&key].containers.iter().find(|it| *it.name == *"app")?;
                next.filter(|it| Some(*it) > own.asked.memory_request)
            };
            let (beside_it, by_itself) = (raise(&beside), raise(&alone));
            let decision = beside.decisions.iter().find(|it| it.pod == key).unwrap();
            // What both of them ask for together may be too much.
            let together = [Check::Qos, Check::Valid, Check::LimitRange, Check::Quota, Check::Restart];
            let named = decision.findings.iter().any(|it| together.contains(&it.check) && (it.outcome != Outcome::Clamped || it.check == Check::Qos));
            rule!(world, beside_it >= by_itself || named, "{by_itself:?} alone, {beside_it:?} beside another: {}", told(decision));
        }
    }

    #[test]
    fn whatever_happened_it_comes_to_rest(wild in wild(0..8)) {
        let mut world = live(&wild)?;
        world.calm();
        let mut actions = 0;
        for round in 0..90 {
            actions = world.round()?.actions.len();
            world.pass(if round < 60 { 61 } else { 180 });
        }
        rule!(world, actions == 0, "it has not come to rest");
    }

    #[test]
    fn wants_that_wobble_move_nothing(wild in wild(0..1), wobbles in prop::collection::vec(draws(4), 48)) {
        let mut world = live(&wild)?;
        world.calm();
        for subject in world.stage.scene.workloads.values_mut() {
            // Who wants every percent followed has it followed.
            let threshold = &mut Arc::make_mut(&mut subject.policy).threshold_percent.value;
            *threshold = (*threshold).max(10);
        }
        let mut quiet = 0;
        for _ in 0..150 {
            quiet = if world.round()?.actions.is_empty() { quiet + 1 } else { 0 };
            world.pass(61);
            if quiet == 5 {
                break;
            }
        }
        let settled = Stage { scene: world.stage.scene.clone(), now: world.stage.now };
        world.turns.clear();
        for wobble in &wobbles {
            let by = wild::NAMES.iter().zip(wobble).map(|(name, it)| ((*name).to_owned(), i64::from(*it) * 80 / 1000 - 40));
            world.wobble(&by.collect(), &settled);
            world.round()?;
            world.pass(61);
        }
        let most = world.turns.values().map(|it| it.1).max().unwrap_or(0);
        // For safety's sake it may go up to the most that is wanted, and by a first move down; there and back again it does not go.
        rule!(world, most <= 2, "{most} turns in two days");
    }
}
