//! What has run out is thrown away without anybody coming in, and what the EHR granted to it is given back: seen at the EHR.

use chrono::TimeDelta;
use sandbox::LaunchContext;

use super::setup::{Kind, World, patient};
use crate::support::on_both;

/// Sessions, openings, grants and tokens that are kept.
fn kept(world: &World) -> [usize; 4] {
    ["session", "opening", "user_grant", "access_token"].map(|table| world.count(table))
}

on_both! {
    async fn a_session_that_ran_out_is_swept_and_its_grant_is_given_back(db) {
        let world = World::begin(db, Kind::Basic).await;
        let (mut gone, mut here) = (world.browser(), world.browser());
        world.launched(&mut gone, LaunchContext::of(&patient(&world, 0))).await.lands_at();
        assert_eq!(world.app.sweep_sessions().await.unwrap(), (0, 0), "it lasts");
        world.clock.advance(TimeDelta::minutes(20));
        let path = world.launched(&mut here, LaunchContext::of(&patient(&world, 1))).await.lands_at();
        world.clock.advance(TimeDelta::minutes(11));
        assert_eq!((kept(&world), world.asked("POST", "/auth/revoke")), ([2, 2, 2, 2], 0), "nobody came in since");
        assert_eq!(world.app.sweep_sessions().await.unwrap(), (1, 1));
        assert_eq!(kept(&world), [1, 1, 1, 1]);
        assert!(world.asked("POST", "/auth/revoke") >= 1, "the EHR was told");
        assert_eq!(here.page(&path).await.status, 200, "who is at work stays in");
        world.clock.advance(TimeDelta::hours(13));
        assert_eq!(world.app.sweep_sessions().await.unwrap(), (1, 1));
        assert_eq!((kept(&world), world.ehr.tokens_of_users()), ([0, 0, 0, 0], 0));
    }

    async fn an_opening_that_ended_gives_its_grant_back_while_the_session_goes_on(db) {
        let world = World::begin(db, Kind::Basic).await;
        let mut browser = world.browser();
        let path = world.launched(&mut browser, LaunchContext::of(&patient(&world, 0))).await.lands_at();
        for _ in 0..17 {
            world.clock.advance(TimeDelta::minutes(29));
            browser.page("/").await;
        }
        assert_eq!(browser.page(&path).await.status, 404, "eight hours are over");
        assert_eq!(world.app.sweep_sessions().await.unwrap(), (0, 1));
        assert_eq!(kept(&world), [1, 0, 0, 0]);
        assert!(world.asked("POST", "/auth/revoke") >= 1);
    }

    async fn a_grant_whose_opening_never_came_is_given_back(db) {
        let world = World::begin(db, Kind::Basic).await;
        world.launched(&mut world.browser(), LaunchContext::of(&patient(&world, 0))).await.lands_at();
        // The process stopped between the two.
        world.execute("DELETE FROM opening");
        world.execute("DELETE FROM session");
        world.clock.advance(TimeDelta::minutes(59));
        assert_eq!(world.app.sweep_sessions().await.unwrap(), (0, 0), "a launch may still be landing");
        assert_eq!(world.count("user_grant"), 1);
        world.clock.advance(TimeDelta::minutes(2));
        assert_eq!(world.app.sweep_sessions().await.unwrap(), (0, 1));
        assert_eq!((kept(&world), world.ehr.tokens_of_users()), ([0, 0, 0, 0], 0));
        assert!(world.asked("POST", "/auth/revoke") >= 1, "the EHR was told");
        // Where the EHR cannot be told, it is thrown away all the same: it ends by itself there.
        world.launched(&mut world.browser(), LaunchContext::of(&patient(&world, 0))).await.lands_at();
        world.execute("DELETE FROM opening");
        world.ehr.plant(sandbox::Fault::new(sandbox::FaultKind::ServerError { status: 503 }).on("POST", "/auth/revoke").times(1));
        world.clock.advance(TimeDelta::hours(2));
        world.app.sweep_sessions().await.unwrap();
        assert_eq!(kept(&world), [0, 0, 0, 0]);
        world.ehr.clear_faults();
    }

    async fn sign_ins_that_nobody_came_back_from_are_thrown_away(db) {
        let world = World::begin(db, Kind::Public).await;
        world.sent_back(&mut world.browser(), LaunchContext::of(&patient(&world, 0))).await;
        world.app.sweep_sessions().await.unwrap();
        assert_eq!(world.count("sign_in"), 1);
        world.clock.advance(TimeDelta::hours(1));
        world.app.sweep_sessions().await.unwrap();
        assert_eq!(world.count("sign_in"), 0);
    }
}
