//! The body of a request to an address that the site declared: the site's own template over what is told.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::account::{Account, instant};
use super::{ComposeError, Composed, Loss, Subject, Unfit};
use crate::writeback::contract::{Carrier, Contract, ContractError, Route};
use crate::writeback::deed::Deed;

/// Steps that a template may take: far more than a body needs.
const FUEL: u64 = 50_000;

pub(super) fn compose(subject: &Subject<'_>, account: &Account, contract: &Contract) -> Result<Composed, Unfit> {
    let Some(route) = &contract.route else { return Err(Unfit::next("route", "this site declares no route")) };
    let values = context! {
        patient => subject.patient,
        key => subject.key,
        kind => subject.telling.kind(),
        status => account.status.as_str(),
        sent => account.at.map(instant).unwrap_or_default(),
        channel => account.channel.as_deref().unwrap_or_default(),
        title => account.title(),
        summary => account.in_words(),
    };
    let body = fill(route, values)?;
    if !body.contains(subject.key) {
        return Err(ComposeError::Route("the body does not hold {{ key }}, by which it is found again".to_owned()).into());
    }
    let mut losses = account.losses.clone();
    losses.push(Loss::of("Communication", "it goes by the site's own route: what its template leaves out is not there"));
    Ok(Composed { carrier: Carrier::Route, deed: Deed::Create { bytes: body.into_bytes() }, at: account.at, losses })
}

/// Tries a route's template on sample values, so that a mistake shows when it is set and not when a patient answers.
pub(in crate::writeback) fn check(route: &Route) -> Result<(), ContractError> {
    let tricky = "\"'\\ <&>\n";
    let values = context! {
        patient => "p1", key => "k1", kind => "original", status => "completed", sent => "2026-01-01T00:00:00.000Z",
        channel => "email", title => tricky, summary => tricky,
    };
    let body = fill(route, values).map_err(|e| ContractError::Rule(format!("route.body: {e}")))?;
    if body.contains("k1") {
        Ok(())
    } else {
        Err(ContractError::Rule("route.body must hold {{ key }}, by which it is found again".to_owned()))
    }
}

fn fill(route: &Route, values: Value) -> Result<String, ComposeError> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(8);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.add_filter("json", |text: &str| serde_json::Value::from(text).to_string());
    // The error's detail may quote a value; its kind cannot.
    let body = engine.render_named_str("body", &route.body, values).map_err(|e| match e.kind() {
        minijinja::ErrorKind::UndefinedError => ComposeError::Route("it names a value that there is not".to_owned()),
        kind => ComposeError::Route(kind.to_string()),
    })?;
    let essence = route.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    if is_json && serde_json::from_str::<serde::de::IgnoredAny>(&body).is_err() {
        return Err(ComposeError::Route("the body is not JSON; write texts as {{ summary|json }}".to_owned()));
    }
    Ok(body)
}
