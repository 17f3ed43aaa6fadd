//! What a template must and must not say, checked on its words filled in with made-up values, before it can be used: plain language,
//! one thing to do, the site's name, how to stop, and none of the words that would tell a stranger what a patient is treated for.
//! The list of words is a net with holes; it does not replace the person who approves the text.

use super::readability;
use super::variables::{PhiClass, Variables, class_of};
use super::{Template, Variant, engine};

/// The school grade that a text must not exceed.
const TARGET_GRADE: f64 = 6.0;
/// Subject lines beyond this are cut by phones and folded by mail servers.
const MAX_SUBJECT: usize = 78;

/// Beginnings of words that name a diagnosis, a test or a specialty, in English and Spanish (45 CFR 164.502(b), 164.530(c)).
const TELLING: [&str; 44] = [
    "abort",
    "alcohol",
    "anxi",
    "ansied",
    "asma",
    "asthma",
    "behavioral",
    "biops",
    "cancer",
    "cáncer",
    "cardio",
    "chemo",
    "colonosc",
    "covid",
    "depres",
    "dermatol",
    "diabet",
    "diagn",
    "dialy",
    "diálisis",
    "embaraz",
    "endocr",
    "fertil",
    "gastro",
    "ginec",
    "gynec",
    "hepatit",
    "hiv",
    "hypertens",
    "mammog",
    "mamograf",
    "neurol",
    "obstet",
    "oncol",
    "overdose",
    "pregnan",
    "prenatal",
    "psiqui",
    "psych",
    "quimio",
    "rehab",
    "suicid",
    "urolog",
    "vih",
];

/// What is wrong with one variant: (key, what).
pub(super) fn variant(template: &Template, variant: &Variant) -> Vec<(&'static str, String)> {
    let mut wrong = variables(template.phi, variant);
    if variant.body.matches("{{ ask }}").count() != 1 {
        wrong.push(("body", "must hold {{ ask }} exactly once, since a message asks for one thing".to_owned()));
    }
    let rendered = match template.render(&[&variant.language], &Variables::sample()) {
        Ok(rendered) => rendered,
        Err(e) => {
            wrong.push(("body", e.to_string()));
            return wrong;
        }
    };
    wrong.extend(words(variant, rendered.subject.expose(), rendered.body.expose()));
    wrong
}

/// The most telling class among the variables that these words use.
pub(super) fn class_used(variant: &Variant) -> PhiClass {
    used(variant).iter().filter_map(|(_, name)| class_of(name)).max().unwrap_or(PhiClass::None)
}

fn used(variant: &Variant) -> Vec<(&'static str, String)> {
    let engine = engine();
    let mut all = Vec::new();
    for (key, source) in [("subject", &variant.subject), ("body", &variant.body), ("ask", &variant.ask)] {
        if let Ok(parsed) = engine.template_from_str(source) {
            let mut names: Vec<String> = parsed.undeclared_variables(true).into_iter().collect();
            names.sort();
            all.extend(names.into_iter().map(|n| (key, n)));
        }
    }
    all
}

fn variables(ceiling: PhiClass, variant: &Variant) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    for (key, name) in used(variant) {
        match class_of(&name) {
            None => {
                let known: Vec<&str> = super::variables::CATALOGUE.iter().map(|(n, _)| *n).collect();
                wrong.push((key, format!("{{{{ {name} }}}} is not a variable: use one of {}", known.join(", "))));
            }
            Some(class) if class > ceiling => {
                let (class, ceiling) = (class.as_str(), ceiling.as_str());
                wrong.push((
                    key,
                    format!("{{{{ {name} }}}} is of class {class}, and phi says {ceiling}: raise phi, or leave the variable out"),
                ));
            }
            Some(PhiClass::Limited) if key == "subject" && name == "patient.given" => {
                wrong.push((key, "must not name the patient: subjects show on locked screens".to_owned()));
            }
            Some(_) => {}
        }
    }
    wrong
}

fn words(variant: &Variant, subject: &str, body: &str) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let site = Variables::sample().site_name;
    if subject.chars().count() > MAX_SUBJECT {
        wrong.push(("subject", format!("is longer than {MAX_SUBJECT} characters")));
    }
    if !body.contains(&site) {
        wrong.push(("body", "must name the site: use {{ site.name }}".to_owned()));
    }
    if !body.contains("STOP") {
        wrong.push(("body", "must say how to stop: write that the patient can reply STOP".to_owned()));
    }
    if body.matches("://").count() > 1 || body.matches("www.").count() > 0 {
        wrong.push(("body", "holds more than one link: one message, one thing to do".to_owned()));
    }
    if replies_asked(body) > 1 {
        wrong.push(("body", "asks for more than one reply besides STOP: one message, one thing to do".to_owned()));
    }
    let all = format!("{subject}\n{body}").to_lowercase();
    for word in all.split(|c: char| !c.is_alphabetic()) {
        if let Some(stem) = TELLING.iter().find(|stem| word.starts_with(**stem)) {
            wrong
                .push(("body", format!("holds a word that begins with {stem:?}, which tells what a patient is treated for: leave it out")));
        }
    }
    match readability::grade(body, &variant.language) {
        Some(grade) if grade > TARGET_GRADE => {
            wrong.push(("body", format!("reads at grade {grade:.1}; the target is {TARGET_GRADE}: shorten sentences and words")));
        }
        _ => {}
    }
    wrong
}

/// How many replies a text asks for, "reply STOP" left out.
fn replies_asked(body: &str) -> usize {
    let words: Vec<String> = body.split_whitespace().map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()).collect();
    words
        .windows(2)
        .filter(
            |pair| matches!(pair, [verb, what] if matches!(verb.as_str(), "reply" | "responda" | "text" | "conteste") && what != "stop"),
        )
        .count()
}
