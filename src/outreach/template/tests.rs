use super::*;

const GOOD: &str = r#"
id = "visit-confirm"
action = "confirm"
phi = "limited"

[en]
approved_by = "A. Reviewer"
subject = "Your visit at {{ site.name }}"
ask = "Reply C to confirm."
body = """
Hello{% if patient.given %} {{ patient.given }}{% endif %},
You have a visit on {{ appointment.date }} at {{ appointment.time }}.
{{ ask }}
{{ site.name }}, {{ site.phone }}
To stop, reply STOP.
"""

[es]
approved_by = "B. Traductora"
subject = "Su cita en {{ site.name }}"
ask = "Responda C para confirmar."
body = """
Hola{% if patient.given %} {{ patient.given }}{% endif %}:
Usted tiene una cita el {{ appointment.date }} a las {{ appointment.time }}.
{{ ask }}
{{ site.name }}, {{ site.phone }}
Para no recibir más, responda STOP.
"""
"#;

fn variables(given: Option<&str>) -> Variables {
    Variables {
        given: given.map(|g| Phi::new(g.to_owned())),
        site_name: "Main Street Clinic".to_owned(),
        site_phone: "555-0100".to_owned(),
        appointment: domain::Timestamp::parse("2026-12-01T15:30:00-05:00").map(Phi::new),
        with: None,
        place: None,
        zone: chrono_tz::America::New_York,
        link: None,
    }
}

#[test]
fn words_follow_the_language_of_the_patient() {
    let template = Template::parse("t.toml", GOOD).unwrap_or_else(|e| panic!("{e}"));
    for (languages, language, assistance, holds) in [
        (vec!["en"], "en", false, "Hello Ada,\nYou have a visit on Tuesday, December 1 at 3:30 PM.\nReply C to confirm."),
        (vec!["es-mx"], "es", false, "Hola Ada:\nUsted tiene una cita el martes 1 de diciembre a las 3:30 p. m."),
        (vec!["ES"], "es", false, "Hola Ada"),
        (vec!["vi", "es"], "es", false, "Hola Ada"),
        (vec!["vi"], "en", true, "Gọi số 555-0100."),
        (vec!["zz"], "en", true, "Free help in your language is available. Call 555-0100."),
        (vec![], "en", false, "Hello Ada"),
    ] {
        let got = template.render(&languages, &variables(Some("Ada"))).unwrap();
        assert_eq!((got.language.as_str(), got.assistance_line), (language, assistance), "{languages:?}");
        assert!(got.body.expose().contains(holds), "{languages:?}: {}", got.body.expose());
        assert!(got.body.expose().contains("STOP"));
    }
    let nameless = template.render(&["en"], &variables(None)).unwrap();
    assert!(nameless.body.expose().starts_with("Hello,\n"), "{}", nameless.body.expose());
    assert!(!format!("{nameless:?}").contains("Hello"), "Debug must be redacted");
}

#[test]
fn values_of_an_ehr_bring_neither_lines_nor_links_nor_code() {
    let template = Template::parse("t.toml", GOOD).unwrap();
    for (given, shown) in [
        ("Ada\r\nBcc: x@example.org", "Hello Ada Bcc x example org,"),
        ("https://evil.example/x", "Hello https evil example x,"),
        ("{{ site.phone }}{% for i in range(1000000) %}x{% endfor %}", "Hello site phone for i in range x endfor,"),
        ("José-María O’Neill", "Hello José-María O’Neill,"),
        ("12345", "Hello,"),
    ] {
        let body = template.render(&["en"], &variables(Some(given))).unwrap().body;
        assert_eq!(body.expose().lines().next().unwrap(), shown);
    }
    let long = template.render(&["en"], &variables(Some(&"a".repeat(5000)))).unwrap();
    assert!(long.body.expose().len() < 400);
}

#[test]
fn what_has_no_value_is_an_error_and_not_a_gap_in_the_text() {
    let template = Template::parse("t.toml", GOOD).unwrap();
    let no_visit = Variables { appointment: None, ..variables(Some("Ada")) };
    let error = template.render(&["en"], &no_visit).unwrap_err();
    assert!(matches!(error, RenderError::MissingValue { .. }), "{error:?}");
    assert!(!error.to_string().contains("Ada"));
}

#[test]
fn an_endless_template_runs_out_of_fuel() {
    let mut template = Template::parse("t.toml", GOOD).unwrap();
    template.variants[0].body = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}".to_owned();
    assert!(matches!(template.render(&["en"], &variables(None)), Err(RenderError::Engine { .. })));
}

#[test]
fn bad_templates_are_refused_with_the_key_and_the_remedy() {
    for (from, to, key, says) in [
        ("{{ ask }}\n{{ site.name }}, {{ site.phone }}\nTo", "{{ ask }}\n{{ ask }}\n{{ site.name }}\nTo", "en.body", "exactly once"),
        ("To stop, reply STOP.", "Bye.", "en.body", "how to stop"),
        ("{{ site.name }}, {{ site.phone }}\nTo", "{{ site.phone }}\nTo", "en.body", "name the site"),
        ("You have a visit on", "You have a cardiology visit on", "en.body", "\"cardio\""),
        ("Usted tiene una cita", "Usted tiene una cita de oncología", "es.body", "\"oncol\""),
        (
            "You have a visit on",
            "Reply YES or see https://a.example and https://b.example for the visit on",
            "en.body",
            "more than one link",
        ),
        ("You have a visit on", "Reply YES for the visit on", "en.body", "more than one reply"),
        ("Your visit at", "{{ patient.given }}, your visit at", "en.subject", "locked screens"),
        ("{{ appointment.date }} at", "{{ appointment.reason }} at", "en.body", "not a variable"),
        ("You have a visit on", "Your attendance at the aforementioned consultation necessitates confirmation on", "en.body", "grade"),
        ("phi = \"limited\"", "phi = \"none\"", "en.body", "raise phi"),
        ("phi = \"limited\"", "phi = \"phi\"", "phi", "write \"limited\""),
        ("[en]", "[fr]", "en", "is missing"),
        ("{% endif %},", ",", "en.body", "cannot be filled in"),
        ("approved_by = \"A. Reviewer\"\n", "", "en.approved_by", "is missing"),
    ] {
        let mistakes = Template::parse("t.toml", &GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(mistakes.0.iter().any(|m| m.key == key && m.says.contains(says)), "{to}\n{mistakes}");
    }
}

#[test]
fn who_and_where_can_be_said_and_bring_no_link_into_a_message() {
    let text = GOOD.replace(
        "You have a visit on {{ appointment.date }} at {{ appointment.time }}.",
        "You have a visit on {{ appointment.date }}{% if appointment.with %} with {{ appointment.with }}{% endif %}{% if appointment.place %} at {{ appointment.place }}{% endif %}.",
    );
    let template = Template::parse("t.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    assert!(template.names_who_or_where() && !Template::parse("t.toml", GOOD).unwrap().names_who_or_where());
    for (with, place, says) in [
        (Some("Dr. Ana Ng, MD"), Some("St. Mary #2 (East)"), "on Tuesday, December 1 with Dr. Ana Ng, MD at St. Mary #2 (East)."),
        (None, Some(" "), "on Tuesday, December 1."),
        (Some("evil.example.com/x\nBcc: a@b"), None, "on Tuesday, December 1 with evil example com x Bcc a b."),
    ] {
        let values = Variables { with: with.map(str::to_owned), place: place.map(str::to_owned), ..variables(None) };
        let body = template.render(&["en"], &values).unwrap().body;
        assert!(body.expose().contains(says), "{}", body.expose());
    }
}
