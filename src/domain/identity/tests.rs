use super::identifier::Identifier;
use super::*;
use crate::model::Phi;
use proptest::prelude::*;

fn record(id: i64) -> Record {
    Record { id, home: id * 10, replaced_elsewhere: false, says_in_use: false, cut: false }
}

fn records(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    ids.into_iter().map(record).collect()
}

fn edge(tie: Tie, from: i64, to: i64) -> Edge {
    Edge { tie, from, to }
}

/// `1:10>2` is record 1 of person 10, retired, with root 2; doubts follow.
fn told(settled: &BTreeMap<i64, Settled>) -> String {
    let one = |(id, s): (&i64, &Settled)| {
        let root = if s.retired { format!(">{}", s.root) } else { String::new() };
        let doubts: String = s.doubts.iter().map(|d| format!("!{}", d.as_str())).collect();
        format!("{id}:{}{root}{doubts}", s.person)
    };
    settled.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_the_ehr_says_and_what_follows() {
    use Tie::{Identifier as Same, Refers, Replaced, SeeAlso, Word};
    let r = |from, to| edge(Replaced, from, to);
    for (what, edges, apart, wanted) in [
        ("nothing", vec![], vec![], "1:10 2:20 3:30 4:40"),
        ("a merge: the survivor's home, though it was made later", vec![r(1, 2)], vec![], "1:20>2 2:20 3:30 4:40"),
        ("a chain", vec![r(1, 2), r(2, 3)], vec![], "1:30>3 2:30>3 3:30 4:40"),
        ("a chain told twice over", vec![r(1, 2), r(2, 3), r(1, 3)], vec![], "1:30>3 2:30>3 3:30 4:40"),
        ("a circle", vec![r(1, 2), r(2, 1)], vec![], "1:10>1!cycle 2:10>2!cycle 3:30 4:40"),
        ("itself", vec![r(1, 1)], vec![], "1:10>1!cycle 2:20 3:30 4:40"),
        ("into a circle", vec![r(3, 1), r(1, 2), r(2, 1)], vec![], "1:10>1!cycle 2:10>2!cycle 3:10>3!cycle 4:40"),
        ("two survivors", vec![r(1, 2), r(1, 3)], vec![], "1:10>1!several-survivors 2:20 3:30 4:40"),
        ("two survivors that are one", vec![r(1, 2), r(1, 3), edge(Same, 2, 3)], vec![], "1:20>2 2:20 3:20 4:40"),
        ("refer and seealso leave both in use", vec![edge(Refers, 1, 2), edge(SeeAlso, 2, 3)], vec![], "1:10 2:10 3:10 4:40"),
        ("an identifier", vec![edge(Same, 1, 4)], vec![], "1:10 2:20 3:30 4:10"),
        ("staff join", vec![edge(Word, 3, 4)], vec![], "1:10 2:20 3:30 4:30"),
        ("staff part what an identifier joins", vec![edge(Same, 1, 4)], vec![(1, 4)], "1:10 2:20 3:30 4:40"),
        ("also by a third: the weaker tie goes", vec![edge(SeeAlso, 1, 2), edge(Same, 2, 4)], vec![(4, 1)], "1:10 2:10 3:30 4:40"),
        ("staff part what the EHR merged", vec![r(1, 2)], vec![(2, 1)], "1:10>1!kept-apart 2:20!kept-apart 3:30 4:40"),
        ("a tie to a record that is not there", vec![r(1, 9)], vec![(1, 9)], "1:10 2:20 3:30 4:40"),
    ] {
        assert_eq!(told(&settle(&records(1..=4), &edges, &apart)), wanted, "{what}");
    }
}

#[test]
fn one_sided_and_elsewhere_are_retired_and_looked_at() {
    let mut two = records([1, 2]);
    two[0].says_in_use = true;
    assert_eq!(told(&settle(&two, &[edge(Tie::Replaced, 1, 2)], &[])), "1:20>2!one-sided 2:20");
    assert_eq!(told(&settle(&two, &[], &[])), "1:10 2:20");
    two[0].replaced_elsewhere = true;
    assert_eq!(told(&settle(&two, &[], &[])), "1:10>1!elsewhere 2:20");
}

#[test]
fn what_would_be_too_many_is_nobody() {
    let most = i64::try_from(MOST_RECORDS).unwrap();
    let star = |n: i64| (2..=n).map(|id| edge(Tie::Replaced, id, 1)).collect::<Vec<_>>();
    let all = settle(&records(1..=most), &star(most), &[]);
    assert!(all.values().all(|s| s.person == 10 && s.root == 1), "{}", told(&all));
    let all = settle(&records(1..=most + 1), &star(most + 1), &[]);
    assert!(all.iter().all(|(id, s)| s.person == id * 10 && s.root == *id && s.doubts.contains(&Doubt::TooMany)), "{}", told(&all));
    // One of which not all was looked at.
    let mut cut = records([1, 2, 3]);
    cut[1].cut = true;
    let all = settle(&cut, &[edge(Tie::SeeAlso, 1, 2)], &[]);
    assert_eq!(told(&all), "1:10!too-many 2:20!too-many 3:30");
}

proptest! {
    /// The order in which records and ties are heard of decides nothing, what staff keep apart stays so, and a tie that goes leaves what was
    /// before it came.
    #[test]
    fn joining_knows_no_order_and_can_be_undone(
        edges in prop::collection::vec((0usize..5, 1i64..9, 1i64..9), 0..14),
        apart in prop::collection::vec((1i64..9, 1i64..9), 0..4),
        turn in 0usize..14,
    ) {
        let ties = [Tie::Word, Tie::Replaced, Tie::Refers, Tie::SeeAlso, Tie::Identifier];
        let mut edges: Vec<Edge> = edges.into_iter().map(|(tie, from, to)| edge(ties[tie], from, to)).collect();
        let apart: Vec<(i64, i64)> = apart.into_iter().filter(|(a, b)| a != b).collect();
        let before = settle(&records(1..9), &edges, &apart);
        for (a, b) in &apart {
            prop_assert_ne!(before[a].person, before[b].person);
        }
        for s in before.values() {
            prop_assert!(before[&s.root].person == s.person, "a survivor is of the same person");
        }
        let turned = turn % edges.len().max(1);
        edges.rotate_left(turned);
        prop_assert_eq!(&settle(&records((1..9).rev()), &edges, &apart), &before);
        edges.push(edge(Tie::SeeAlso, 1, 8));
        let _joined = settle(&records(1..9), &edges, &apart);
        edges.pop();
        prop_assert_eq!(settle(&records(1..9), &edges, &apart), before);
    }
}

#[test]
fn placeholders_tie_nobody() {
    let normal = |system: &str, value: &str| {
        Identifier { system: system.to_owned(), value: Phi::new(value.to_owned()) }.normal().map(Phi::into_inner)
    };
    const SSN: &str = "http://hl7.org/fhir/sid/us-ssn";
    const MPI: &str = "urn:oid:1.2.3";
    for (system, value, wanted) in [
        (SSN, "219-09-1234", Some("219091234")),
        (SSN, " 219 09 1234", Some("219091234")),
        (SSN, "999-99-9999", None),
        (SSN, "900-12-3456", None),
        (SSN, "666-12-3456", None),
        (SSN, "000-12-3456", None),
        (SSN, "123-45-6789", None),
        (SSN, "078-05-1120", None),
        (SSN, "219-00-1234", None),
        (SSN, "21909123", None),
        (SSN, "***-**-1234", None),
        (MPI, "e12-34/5", Some("E12345")),
        (MPI, "1234567890", None),
        (MPI, "98765", None),
        (MPI, "00000000", None),
        (MPI, "n/a", None),
        (MPI, "Unknown", None),
        (MPI, "  ", None),
        (MPI, "E1", None),
        (MPI, "10023", Some("10023")),
    ] {
        assert_eq!(normal(system, value).as_deref(), wanted, "{system} {value}");
    }
}
