//! A browser that tests drive: Debian's Chromium by its driver, over the W3C WebDriver protocol (<https://www.w3.org/TR/webdriver2/>) and, for
//! what that cannot do, the driver's door to the browser's own protocol. `tests/run` installs both, and axe-core.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::prerequisite;

/// The key under which the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser; gone with this value.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    tools: PathBuf,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

/// An element of the page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    /// Starts one; `None` where there is none here.
    pub fn start() -> Option<Self> {
        Self::start_with(&[], json!({}))
    }

    /// With arguments and preferences of the browser's own.
    pub fn start_with(arguments: &[&str], preferences: Value) -> Option<Self> {
        let tools = PathBuf::from(prerequisite("BROWSER_TOOLS")?);
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("BROWSER_TOOLS is set, so chromedriver is there");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                line.unwrap().rsplit_once("successfully on port ").and_then(|(_, p)| p.trim_end_matches('.').parse::<u16>().ok())
            })
            .expect("chromedriver tells its port");
        std::thread::spawn(move || lines.for_each(drop));
        let mut all =
            vec!["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-US"];
        all.extend_from_slice(arguments);
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
            "goog:chromeOptions": { "args": all, "prefs": preferences },
        } } });
        let mut browser = Self { driver, port, session: String::new(), tools };
        let made = browser.call("POST", "/session", Some(&capabilities));
        browser.session = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        browser.cdp("Network.enable", json!({}));
        Some(browser)
    }

    /// A call of the protocol; its value. An error of the protocol fails the test.
    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, value) = self.try_call(method, path, body);
        assert!(status < 400, "{method} {path}: {value}");
        value
    }

    fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The driver may keep the line open: its length says where the answer ends.
        let mut chunk = [0; 64 * 1024];
        loop {
            let n = stream.read(&mut chunk).unwrap();
            answer.extend_from_slice(&chunk[..n]);
            if n == 0 || is_whole(&answer) {
                break;
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {method} {path}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let json: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
        (status, json["value"].clone())
    }

    fn of_session(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    /// A command of the browser's own protocol.
    #[track_caller]
    pub fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.call("POST", &self.of_session("/goog/cdp/execute"), Some(&json!({ "cmd": command, "params": parameters })))
    }

    /// Opens a page and waits until it is loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.call("POST", &self.of_session("/url"), Some(&json!({ "url": url })));
    }

    /// One page back.
    pub fn back(&self) {
        self.call("POST", &self.of_session("/back"), Some(&json!({})));
    }

    /// The address that is shown.
    pub fn url(&self) -> String {
        self.call("GET", &self.of_session("/url"), None).as_str().unwrap().to_owned()
    }

    /// The title.
    pub fn title(&self) -> String {
        self.call("GET", &self.of_session("/title"), None).as_str().unwrap().to_owned()
    }

    /// Puts a cookie into the browser, for the page that is open.
    pub fn cookie(&self, url: &str, name: &str, value: &str) {
        self.cdp("Network.setCookie", json!({ "url": url, "name": name, "value": value, "httpOnly": true }));
    }

    /// Sets the width, the theme and, for a whole look, the height.
    pub fn look(&self, width: u32, theme: Theme) {
        self.cdp("Emulation.setDeviceMetricsOverride", json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false }));
        let scheme = if theme == Theme::Dark { "dark" } else { "light" };
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }));
    }

    /// The first element that a selector finds.
    #[track_caller]
    pub fn find(&self, css: &str) -> Element {
        let found = self.call("POST", &self.of_session("/element"), Some(&json!({ "using": "css selector", "value": css })));
        Element(found[ELEMENT].as_str().unwrap().to_owned())
    }

    /// Clicks as a person would.
    #[track_caller]
    pub fn click(&self, element: &Element) {
        self.call("POST", &self.of_session(&format!("/element/{}/click", element.0)), Some(&json!({})));
    }

    /// Types into an element.
    #[track_caller]
    pub fn keys(&self, element: &Element, text: &str) {
        self.call("POST", &self.of_session(&format!("/element/{}/value", element.0)), Some(&json!({ "text": text })));
    }

    /// Presses a key, wherever the focus is.
    pub fn press(&self, key: &str) {
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key } ] }] });
        self.call("POST", &self.of_session("/actions"), Some(&actions));
    }

    /// The text that a reader sees.
    pub fn text(&self) -> String {
        self.run("return document.body.innerText", &[]).as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page.
    #[track_caller]
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.call("POST", &self.of_session("/execute/sync"), Some(&json!({ "script": script, "args": arguments })))
    }

    /// Waits until a script returns true.
    #[track_caller]
    pub fn until(&self, what: &str, script: &str) {
        let began = Instant::now();
        while self.run(script, &[]) != json!(true) {
            assert!(began.elapsed() < Duration::from_secs(20), "{what} did not come:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The tabs that are open, and the one that is looked at.
    pub fn tabs(&self) -> (Vec<String>, String) {
        let all = self.call("GET", &self.of_session("/window/handles"), None);
        let current = self.call("GET", &self.of_session("/window"), None);
        (all.as_array().unwrap().iter().map(|h| h.as_str().unwrap().to_owned()).collect(), current.as_str().unwrap().to_owned())
    }

    /// Opens a tab and looks at it.
    pub fn tab(&self) -> String {
        let made = self.call("POST", &self.of_session("/window/new"), Some(&json!({ "type": "tab" })));
        let handle = made["handle"].as_str().unwrap().to_owned();
        self.look_at(&handle);
        handle
    }

    /// Looks at a tab.
    pub fn look_at(&self, tab: &str) {
        self.call("POST", &self.of_session("/window"), Some(&json!({ "handle": tab })));
    }

    /// Goes into a frame of the page.
    #[track_caller]
    pub fn go_into(&self, frame: &Element) {
        self.call("POST", &self.of_session("/frame"), Some(&json!({ "id": { ELEMENT: frame.0 } })));
    }

    /// The addresses that were asked for since this was asked last, over all tabs.
    pub fn requests(&self) -> Vec<String> {
        let log = self.call("POST", &self.of_session("/se/log"), Some(&json!({ "type": "performance" })));
        let message = |entry: &Value| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()["message"].clone();
        let sent = log.as_array().unwrap().iter().map(message).filter(|m| m["method"] == "Network.requestWillBeSent");
        sent.map(|m| m["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// What the browser's console said: a script that was stopped by the policy, an error.
    pub fn console(&self) -> Vec<String> {
        let log = self.call("POST", &self.of_session("/se/log"), Some(&json!({ "type": "browser" })));
        log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// What axe-core finds that is serious or critical, a line each.
    pub fn faults(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(self.tools.join("node_modules/axe-core/axe.min.js")).expect("tests/run installs axe-core");
        self.cdp("Runtime.evaluate", json!({ "expression": axe }));
        let run = "axe.run(document, { resultTypes: ['violations'] }).then(r => JSON.stringify(r.violations))";
        let found = self.cdp("Runtime.evaluate", json!({ "expression": run, "awaitPromise": true, "returnByValue": true }));
        let text = found["result"]["value"].as_str().unwrap_or_else(|| panic!("axe did not run: {found}"));
        let all: Value = serde_json::from_str(text).unwrap();
        let serious = all.as_array().unwrap().iter().filter(|v| matches!(v["impact"].as_str(), Some("serious" | "critical")));
        let line = |v: &Value| {
            let nodes: Vec<String> = v["nodes"].as_array().unwrap().iter().take(3).map(|n| n["html"].to_string()).collect();
            format!(
                "{} ({}): {} {}",
                v["id"].as_str().unwrap(),
                v["impact"].as_str().unwrap(),
                v["help"].as_str().unwrap(),
                nodes.join(" ")
            )
        };
        serious.map(line).collect()
    }

    /// Keeps a picture of the whole page as test output, and returns where.
    pub fn picture(&self, name: &str) -> PathBuf {
        let taken = self.cdp("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse::<usize>().unwrap()));
    length.is_some_and(|length| body.len() >= length)
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.try_call("DELETE", &self.of_session(""), None);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
