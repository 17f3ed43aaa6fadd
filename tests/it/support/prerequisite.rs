//! Things a test needs that are not part of the build: a database server, another system. Under `CI=true` all must be there; elsewhere
//! a test that lacks one says so and ends, and `tests/run` counts it as skipped.

use std::io::Write as _;

/// Reads an environment variable that names a prerequisite.
///
/// # Panics
/// Under `CI=true` where it is not set: nothing may be skipped there.
#[expect(clippy::explicit_write, reason = "the test harness would swallow eprintln!, and tests/run counts these lines")]
pub fn prerequisite(variable: &str) -> Option<String> {
    if let Some(value) = std::env::var(variable).ok().filter(|v| !v.is_empty()) {
        return Some(value);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{variable} is not set, and under CI=true no test may be skipped: run tests/run");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "skipped: {test}: {variable} is not set").unwrap();
    None
}
