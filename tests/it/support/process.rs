//! The gateway as its users run it: the built binary with arguments.

use std::process::{Child, Command, Stdio};

/// How a run of the gateway ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it said as data.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Ended {
    /// The data as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {}\n{}", self.stdout, self.stderr))
    }

    /// The run itself, where it ended with exit code 0.
    ///
    /// # Panics
    /// With what it said, where it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// The gateway's binary, ready for more arguments.
pub fn gateway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhir-engage"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the gateway to its end.
pub fn run(args: &[&str]) -> Ended {
    Running::start(&mut gateway(args)).wait()
}

/// A gateway that runs; killed with what it holds when this value is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<std::thread::JoinHandle<String>>,
    stderr: Option<std::thread::JoinHandle<String>>,
}

fn drain(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Running {
    /// Starts a command whose stdout and stderr are pipes.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().map(drain), child.stderr.take().map(drain));
        Self { child, stdout, stderr }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a power cut would: SIGKILL, no clean-up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it ended by itself by now.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it and reads what it said until then.
    pub fn stop(mut self) -> Ended {
        self.kill();
        self.wait()
    }

    /// Waits for its end and reads what it said.
    pub fn wait(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let read = |from: Option<std::thread::JoinHandle<String>>| from.map(|t| t.join().unwrap()).unwrap_or_default();
        Ended { code: status.code(), stdout: read(self.stdout.take()), stderr: read(self.stderr.take()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
