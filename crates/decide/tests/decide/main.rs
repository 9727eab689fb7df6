//! Scenes and what comes of them: a table of cases a check, and what pods have of each other.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod stage;

mod smoke {
    use super::stage::*;
    use supple_decide::code::Code;

    #[test]
    fn an_idle_pod_shrinks_by_a_step() {
        let mut stage = Stage::new();
        stage.workload("web", "200m 128Mi");
        stage.pod("web", "web-1", "n1", "1:2 1Gi:2Gi");
        let round = stage.decide();
        check(&round, "web-1", Code::Resize, "500m:1 717Mi:1434Mi");
        stage.carry_out(&round);
        let again = stage.decide();
        assert_eq!((again.actions, again.records), (vec![], Default::default()));
    }
}
