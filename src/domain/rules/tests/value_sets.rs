//! Which codes the shipped value sets hold, and that each is a published code of its system.

use super::people::coding;
use crate::rules::{ValueSets, shipped};

/// Which real codes each shipped value set holds, and which of the same system it does not.
#[test]
fn value_sets_hold_what_they_say_and_no_more() {
    let sets = ValueSets::of(shipped::value_sets().unwrap()).unwrap();
    for (set, holds, lacks) in [
        ("diabetes", "E10.10 E10.9 E11.00 E11.22 E11.3511 E11.37X1 E11.65 E11.9 E11.A", "E08.9 E09.9 E13.9 O24.410 R73.03 E11.99 E10.A0"),
        (
            "chronic-conditions",
            "I10 I13.2 I25.10 I25.112 I25.810 I50.22 J42 J44.1 J44.81 J45.909 N18.30 N18.6 E11.9",
            "I20.0 J06.9 J45.10 N17.9 R03.0 Z00.00 I95.9",
        ),
        (
            "influenza-vaccine",
            "cvx|15 cvx|88 cvx|140 cvx|158 cvx|185 cvx|197 cvx|205 cvx|320 cvx|333",
            "cvx|08 cvx|20 cvx|125 cvx|127 cvx|160 cvx|208 cvx|213 cvx|321 cvx|323",
        ),
        ("public-payer", "act|PUBLICPOL act|SUBSIDMC act|ENDRENAL", "act|EHCPOL act|AUTOPOL act|WCBPOL act|pay"),
        ("stay", "act|IMP act|SS act|OBSENC act|ACUTE act|NONAC", "act|AMB act|EMER act|HH act|VR act|FLD act|PRENC"),
    ] {
        let of = |text: &str| {
            let coding = coding(text);
            sets.get(set).unwrap().contains(coding.system.as_deref(), &coding.code)
        };
        for code in holds.split(' ') {
            assert_eq!(of(code), Some(true), "{set} {code}");
        }
        for code in lacks.split(' ') {
            assert_eq!(of(code), Some(false), "{set} {code}");
        }
    }
    let high = sets.get("high-risk").unwrap();
    let level = |code| high.contains(Some("http://terminology.hl7.org/CodeSystem/risk-probability"), code);
    assert_eq!(["negligible", "low", "moderate", "high", "certain"].map(level), [false, false, false, true, true].map(Some));
    assert_eq!(
        sets.get("colonoscopy").unwrap().contains(Some("http://www.ama-assn.org/go/cpt"), "45378"),
        None,
        "its codes may not be shipped"
    );
}

/// Each code of a shipped value set is one of its code system, as the published list has them: `icd-10-cm.txt` are all codes that can be billed of
/// the categories that are asked for, in the release of April 2026; `cvx.txt` are CDC's vaccines against influenza, and some others.
#[test]
fn value_sets_hold_codes_that_are_published() {
    const REASONS: &str = "maint meds-inc oth-cms oth-err oth-fin oth-int oth-iv oth-mu oth-oerr oth-room oth-swie oth-weath other pat pat-cpp \
        pat-crs pat-dec pat-fb pat-lt pat-mt pat-mv pat-preg pat-swl pat-ucp prov prov-dch prov-edu prov-hosp prov-labs prov-mri prov-onc prov-pers";
    const ACT: &str = "AMB EMER FLD HH IMP ACUTE NONAC OBSENC PRENC SS VR EHCPOL HSAPOL AUTOPOL COL UNINSMOT PUBLICPOL DENTPRG DISEASEPRG CANPRG ENDRENAL \
        HIVAIDS MANDPOL MENTPRG SAFNET SUBPRG SUBSIDIZ SUBSIDMC SUBSUPP WCBPOL";
    const RISK: &str = "negligible low moderate high certain";
    let listed = |file: &'static str| file.lines().filter_map(|line| line.split_once(' '));
    let icd: Vec<&str> = listed(include_str!("icd-10-cm.txt")).map(|(code, _)| code).collect();
    let seasonal: Vec<&str> =
        listed(include_str!("cvx.txt")).filter(|(_, what)| what.starts_with("seasonal ")).map(|(code, _)| code).collect();
    let mut seen = 0;
    for set in shipped::value_sets().unwrap() {
        assert!(!set.licence.is_empty() && !set.source.is_empty() && !set.version.is_empty(), "{}", set.id);
        assert!(!set.is_empty() || set.licence.contains("may not be shipped"), "{}", set.id);
        let text = set.canonical_text();
        for (system, codes) in text.lines().filter(|l| l.starts_with("\"http")).filter_map(|l| l.split_once(" = ")) {
            for code in codes.split(", ").map(|code| code.trim_matches(['[', ']', '"'])) {
                let published = |list: &str| list.split_whitespace().any(|p| p == code);
                let is_one = match system.trim_matches('"') {
                    "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason" => published(REASONS),
                    "http://terminology.hl7.org/CodeSystem/v3-ActCode" => published(ACT),
                    "http://terminology.hl7.org/CodeSystem/risk-probability" => published(RISK),
                    "http://hl7.org/fhir/sid/cvx" => seasonal.contains(&code),
                    "http://hl7.org/fhir/sid/icd-10-cm" => icd.contains(&code),
                    other => panic!("{}: {other}", set.id),
                };
                assert!(is_one, "{}: {code}", set.id);
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "{seen}");
    // And they are complete, as their descriptions say.
    let sets = ValueSets::of(shipped::value_sets().unwrap()).unwrap();
    let has = |set: &str, system: &str, code: &str| sets.get(set).unwrap().contains(Some(system), code) == Some(true);
    for code in icd {
        let (presymptomatic, diabetes) = (code.starts_with("E10.A"), code.starts_with("E10") || code.starts_with("E11"));
        assert_eq!(has("chronic-conditions", "http://hl7.org/fhir/sid/icd-10-cm", code), !presymptomatic, "{code}");
        assert_eq!(has("diabetes", "http://hl7.org/fhir/sid/icd-10-cm", code), diabetes && !presymptomatic, "{code}");
    }
    for (code, what) in listed(include_str!("cvx.txt")) {
        assert_eq!(has("influenza-vaccine", "http://hl7.org/fhir/sid/cvx", code), what.starts_with("seasonal "), "{code}");
    }
}
