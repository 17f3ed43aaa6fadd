//! Pages as people meet them: in a browser, by keyboard and mouse, in both themes, narrow and wide. Pictures are kept in
//! `target/screenshots`.

mod hostile;
mod launches;
mod looks;
mod script;
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

/// A page of somebody else's that shows ours in a frame; its own origin.
fn framing(url: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = format!("<!doctype html><title>Other</title><p>Elsewhere</p><iframe src=\"{url}\" width=600 height=600></iframe>");
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    format!("http://localhost:{}/", address.port())
}
