//! The audit chain: whole under many writers, and broken by whatever is changed in it.

use domain::model::Phi;
use fhir_engage::store::Store;
use fhir_engage::store::audit::{self, Broken, Entry, Wanted};

use super::fixtures::{at, read, write};
use crate::support::on_both;

pub(super) fn entry(n: i64, who: &str) -> Entry {
    Entry {
        at: at(n),
        who: who.to_owned(),
        roles: "clinician".to_owned(),
        what: "view-patient",
        patient: Some(("north".to_owned(), Phi::new(format!("p{}", n % 3)))),
        opening: Some("o".to_owned()),
        about: None,
        why: Some("launch".to_owned()),
    }
}

fn broken(store: &Store) -> Option<Broken> {
    read(store, |c| audit::verify(c, None)).broken
}

on_both! {
    async fn many_writers_on_several_nodes_make_one_chain(db) {
        let nodes: Vec<Store> = (0..3).map(|_| db.store()).collect();
        let mut all = tokio::task::JoinSet::new();
        for n in 0..120 {
            let store = nodes[n % nodes.len()].clone();
            let n = i64::try_from(n).unwrap();
            all.spawn(async move {
                if n % 10 == 0 {
                    // An act appends in its own transaction.
                    store.write("act", move |c| audit::append(c, &entry(n, "kim")).map(drop)).await.unwrap();
                } else {
                    store.audited(entry(n, "kim")).await.unwrap();
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
        let found = read(&nodes[0], |c| audit::verify(c, None));
        assert_eq!((found.rows, found.broken), (120, None));
        let mine = Wanted { patient: Some(("north".to_owned(), "p1".to_owned())), ..Wanted::default() };
        let rows = read(&nodes[0], |c| audit::list(c, &mine, 1_000));
        assert_eq!(rows.len(), 40);
        assert!(rows.windows(2).all(|w| w[0].number > w[1].number));
        assert!(!format!("{:?}", rows[0]).contains("p1"), "a patient's id is in debug output");
    }

    async fn an_act_that_fails_leaves_no_row_and_no_gap(db) {
        let store = db.store();
        write(&store, |c| audit::append(c, &entry(1, "kim")));
        let failed = store.write("act", |c| {
            audit::append(c, &entry(2, "kim"))?;
            Err::<(), _>(fhir_engage::store::StoreError::Damaged("on purpose"))
        });
        assert!(failed.await.is_err());
        assert_eq!(write(&store, |c| audit::append(c, &entry(3, "kim"))), 2);
        assert_eq!(broken(&store), None);
    }

    fn whatever_is_changed_breaks_the_chain(db) {
        let store = db.store();
        for n in 1..=6 {
            write(&store, |c| audit::append(c, &entry(n, "kim")));
        }
        let noted = read(&store, |c| audit::verify(c, None));
        let row = |n: i64| read(&store, |c| audit::list(c, &Wanted::default(), 10)).into_iter().find(|r| r.number == n).unwrap();
        let point = (3, row(3).hash_text());
        assert_eq!(read(&store, |c| audit::verify(c, Some((3, &point.1)))).broken, None);
        for (change, back, found) in [
            ("UPDATE audit SET who = 'lee' WHERE number = 4", "UPDATE audit SET who = 'kim' WHERE number = 4", Broken::Changed(4)),
            ("UPDATE audit SET patient = NULL WHERE number = 2", "UPDATE audit SET patient = 'p2' WHERE number = 2", Broken::Changed(2)),
            ("UPDATE audit SET about = 'x' WHERE number = 6", "UPDATE audit SET about = NULL WHERE number = 6", Broken::Changed(6)),
            ("UPDATE audit SET number = 9 WHERE number = 6", "UPDATE audit SET number = 6 WHERE number = 9", Broken::Missing(6)),
            ("UPDATE audit_head SET number = 5", "UPDATE audit_head SET number = 6", Broken::End { rows: 6, head: 5 }),
        ] {
            db.execute(change);
            assert_eq!(broken(&store), Some(found), "{change}");
            db.execute(back);
            assert_eq!(broken(&store), None, "{back}");
        }
        // The end cut off with its head: only a point that was noted elsewhere tells.
        db.execute("DELETE FROM audit WHERE number > 2");
        assert!(matches!(broken(&store), Some(Broken::End { rows: 2, head: 6 })));
        db.execute("UPDATE audit_head SET number = 2, hash = (SELECT hash FROM audit WHERE number = 2)");
        assert_eq!(broken(&store), None);
        assert_eq!(read(&store, |c| audit::verify(c, Some((3, &point.1)))).broken, Some(Broken::NotThere(3)));
        assert_eq!(noted.rows, 6);
    }
}
