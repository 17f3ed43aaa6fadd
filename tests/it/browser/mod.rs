//! Pages as people meet them: in a browser, by keyboard and mouse, in both themes, narrow and wide. Pictures are kept in
//! `target/screenshots`.

mod hostile;
mod looks;
mod ways;

use crate::patient::world::{Open, World};
use crate::support::Browser;

/// The widths at which every page is looked at: a panel in an EHR, and a desk.
const WIDTHS: [u32; 2] = [400, 1400];

/// Gives the browser somebody's session.
fn sign_in(browser: &Browser, world: &World, open: &Open) {
    let (name, value) = open.staff.cookie.split_once('=').unwrap();
    browser.cookie(&world.address(), name, value);
}

fn address(world: &World, open: &Open) -> String {
    format!("{}{}", world.address(), open.path)
}
