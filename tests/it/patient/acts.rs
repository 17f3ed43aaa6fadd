//! What staff does on the page: each once, each in the chain, each with what it owes to the chart.

use domain::model::Role::{CareManager, Clinician, FrontDesk};
use fhir_engage::store::audit;

use super::world::{Open, World};
use crate::support::on_both;

/// What is planned for tomorrow: the second reminder of a patient's visit.
fn reminder(world: &World, patient: &str) -> String {
    let sql = format!(
        "SELECT a.id AS line FROM attempt a JOIN patient p ON p.pk = a.patient
         WHERE p.fhir_id = '{patient}' AND a.program = 'visit-confirm' AND a.state = 'planned'"
    );
    world.lines(&sql)[0].clone()
}

fn acts(world: &World) -> Vec<String> {
    world.lines("SELECT what AS line FROM audit WHERE what <> 'view-patient' ORDER BY number")
}

fn state(world: &World, attempt: &str) -> String {
    world.lines(&format!("SELECT state || ' ' || COALESCE(failure, '-') AS line FROM attempt WHERE id = '{attempt}'"))[0].clone()
}

async fn whole(world: &World) {
    let found = world.store().snapshot(|conn| audit::verify(conn, None)).await.unwrap();
    assert_eq!(found.broken, None);
}

/// A world where something is planned for tomorrow: the visit's second reminder.
async fn with_next(db: crate::support::Database) -> (World, Open, String) {
    let world = World::new(db).await;
    let open = world.open(&[CareManager], "ann").await;
    let attempt = reminder(&world, "ann");
    assert!(world.page(&open).await.contains(&format!("value=\"{attempt}\"")), "the page does not offer it");
    (world, open, attempt)
}

on_both! {
    async fn what_is_stopped_is_not_sent_and_not_planned_again(db) {
        let (world, open, attempt) = with_next(db).await;
        let form = [("key", "k1"), ("attempt", attempt.as_str())];
        assert_eq!(world.post(&open, "/stop", &form).await, "stopped");
        assert_eq!(world.post(&open, "/stop", &form).await, "before", "a double click acted twice");
        assert_eq!(world.post(&open, "/stop", &[("key", "k2"), ("attempt", &attempt)]).await, "too-late");
        world.execute_mark();
        world.cycle().await;
        assert_eq!(state(&world, &attempt), "void stopped-by-staff");
        let page = world.page(&open).await;
        assert!(page.contains("stopped by staff (care manager)"), "{page}");
        assert_eq!(acts(&world), ["stop-step"]);
        whole(&world).await;
    }

    async fn another_patients_step_is_not_touched(db) {
        let (world, open, _) = with_next(db).await;
        let bob = world.open(&[CareManager], "bob").await;
        world.page(&bob).await;
        let his = reminder(&world, "bob");
        assert_eq!(world.post(&open, "/stop", &[("key", "k"), ("attempt", &his)]).await, "too-late");
        assert_eq!(world.post(&open, "/move", &[("key", "m"), ("attempt", &his), ("to", "2027-01-13T12:00")]).await, "too-late");
        assert!(state(&world, &his).starts_with("planned"));
        assert!(acts(&world).is_empty());
    }

    async fn what_is_moved_waits_for_its_new_time(db) {
        let (world, open, attempt) = with_next(db).await;
        for (to, told) in [("2027-01-12T09:00", "bad-time"), ("2027-01-14T10:30", "bad-time"), ("2027-01-14T08:30", "moved")] {
            assert_eq!(world.post(&open, "/move", &[("key", to), ("attempt", &attempt), ("to", to)]).await, told, "{to}");
        }
        world.execute_mark();
        world.cycle().await;
        let page = world.page(&open).await;
        assert!(page.contains("Thu 14 Jan 2027, 08:30") && page.contains("moved by staff (care manager)"), "{page}");
        world.clock.advance(chrono::TimeDelta::hours(40));
        world.execute_mark();
        world.cycle().await;
        assert!(state(&world, &attempt).starts_with("held"), "it went before its time");
    }

    async fn a_choice_holds_at_once_and_says_who_made_it(db) {
        let world = World::new(db).await;
        let open = world.open(&[FrontDesk], "ann").await;
        assert_eq!(world.post(&open, "/preference", &[("key", "a"), ("about", "all"), ("wish", "none")]).await, "chosen");
        assert_eq!(world.post(&open, "/preference", &[("key", "b"), ("about", "program:visit-confirm"), ("wish", "welcome")]).await, "chosen");
        let page = world.page(&open).await;
        assert!(page.contains("no messages") && page.contains("staff, for the patient") && page.contains("Confirm your visit"), "{page}");
        let preview = world.get(&open, "/message?template=visit-confirm&channel=recorded").await.body;
        assert!(preview.contains("It may not be sent") && preview.contains("the patient wants no messages") && !preview.contains("Send it"), "{preview}");
        assert_eq!(world.post(&open, "/message", &[("key", "m"), ("template", "visit-confirm"), ("channel", "recorded")]).await, "refused");
        assert_eq!(acts(&world).iter().filter(|a| *a == "set-preference").count(), 2);
        for bad in [[("about", "all"), ("wish", "maybe")], [("about", "channel:pigeon"), ("wish", "none")], [("about", "program:x"), ("wish", "none")]] {
            let fields = [&[("csrf", open.staff.csrf.as_str()), ("key", "x")], &bad[..]].concat();
            let answer = world.server.post(&format!("{}/preference", open.path), &open.staff.cookie, &fields).await;
            assert_eq!(answer.status, 400, "{bad:?}");
        }
    }

    async fn a_call_is_written_into_the_chart_once(db) {
        let world = World::new(db).await;
        let open = world.open(&[Clinician], "ann").await;
        let before = world.ehr.count("Communication");
        let form = [("key", "c"), ("went", "spoke"), ("said", "confirm"), ("barrier", "transport"), ("note", "Has no car on Fridays.")];
        assert_eq!(world.post(&open, "/contact", &form).await, "recorded");
        assert_eq!(world.post(&open, "/contact", &form).await, "before");
        assert_eq!(world.post(&open, "/contact", &[("key", "d"), ("went", "no-answer")]).await, "recorded");
        world.cycle().await;
        world.cycle().await;
        // The call, what was said in it, and the call that nobody took.
        assert_eq!(world.ehr.count("Communication") - before, 3, "{:#?}", world.ehr.resources("Communication"));
        let all: Vec<String> = world.ehr.resources("Communication").iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|c| c.contains("Staff spoke with the patient by phone")), "{all:#?}");
        assert!(all.iter().any(|c| c.contains("confirms the visit") && c.contains("transport") && c.contains("staff: clinician")), "{all:#?}");
        assert!(all.iter().any(|c| c.contains("did not reach the patient") && c.contains("no-answer")), "{all:#?}");
        let page = world.page(&open).await;
        for shown in ["Phone call: spoke with the patient", "Confirms the visit; named a barrier: No way to get there", "Has no car on Fridays.",
            "It is in the EHR&#39;s chart", "Not reached"] {
            assert!(page.contains(shown), "{shown} is not in\n{page}");
        }
        whole(&world).await;
    }

    async fn a_message_by_hand_is_previewed_by_the_gate_and_sent_once(db) {
        let world = World::new(db).await;
        // The day's message was used by the reminder.
        let open = world.open(&[CareManager], "ann").await;
        let preview = world.get(&open, "/message?template=visit-confirm&channel=recorded").await.body;
        assert!(preview.contains("It would wait until") && preview.contains("Hello Ann") && preview.contains("Send it then"), "{preview}");
        world.clock.advance(chrono::TimeDelta::hours(26));
        let open = world.open(&[CareManager], "ann").await;
        world.execute_stop_reminders();
        world.cycle().await;
        let preview = world.get(&open, "/message?template=check-up&channel=recorded").await.body;
        assert!(preview.contains("It may be sent now"), "{preview}");
        let form = [("key", "m"), ("template", "check-up"), ("channel", "recorded")];
        assert_eq!(world.post(&open, "/message", &form).await, "sent");
        assert_eq!(world.post(&open, "/message", &form).await, "before");
        world.cycle().await;
        let made = world.lines("SELECT state || ' ' || COALESCE(outcome, '-') AS line FROM attempt WHERE program = 'by-hand'");
        assert_eq!(made, ["finished delivered"]);
        let page = world.page(&open).await;
        assert!(page.contains("Sent by hand"), "{page}");
        assert_eq!(world.get(&open, "/message?template=none&channel=recorded").await.status, 404);
    }

    async fn a_form_without_the_sessions_token_does_nothing(db) {
        let (world, open, attempt) = with_next(db).await;
        for csrf in ["", "forged"] {
            let fields = [("csrf", csrf), ("key", "k"), ("attempt", attempt.as_str())];
            let answer = world.server.post(&format!("{}/stop", open.path), &open.staff.cookie, &fields).await;
            assert_eq!(answer.status, 403);
        }
        assert!(state(&world, &attempt).starts_with("planned") && acts(&world).is_empty());
    }
}

impl World {
    /// Makes outreach plan for everyone anew.
    fn execute_mark(&self) {
        self.db.execute(
            "INSERT INTO pending_outreach (person, generation, since) SELECT pk, 1, 0 FROM person WHERE true ON CONFLICT DO NOTHING",
        );
    }

    /// Takes what programs planned out of the way of a message by hand.
    fn execute_stop_reminders(&self) {
        self.db.execute("UPDATE attempt SET state = 'void', failure = 'stopped-by-staff' WHERE state IN ('planned', 'held')");
    }
}
