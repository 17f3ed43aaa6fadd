//! The name of a process, as the owner of a lease, and whether another one is certainly gone.
//!
//! `HOST/PID/START`: HOST is the machine's name, its boot, the process's PID namespace and its user; START is the process's start in
//! clock ticks since boot (proc(5), `/proc/PID/stat` field 22), so that a PID used again is not taken for the old process. Where any of
//! these cannot be read, nobody is ever called dead, and a lease is taken over when its term ends.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// This process, for the leases it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    host: String,
    text: String,
}

impl Owner {
    /// The process that calls.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        let known = host().zip(start_of(pid).and_then(|s| s.running()));
        let (host, start) = known.unwrap_or_default();
        let text = if host.is_empty() { format!("?/{pid}/?") } else { format!("{host}/{pid}/{start}") };
        Self { host, text }
    }

    /// The name that stands in the lease's row.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `other` certainly no longer runs: a process of this machine, this boot, this PID namespace and this user, which the kernel
    /// no longer lists under its number and start. Whatever is unclear is `false`.
    #[must_use]
    pub fn is_dead(&self, other: &str) -> bool {
        let mut parts = other.rsplitn(3, '/');
        let (Some(start), Some(pid), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let (Ok(start), Ok(pid)) = (start.parse::<u64>(), pid.parse::<u32>()) else {
            return false;
        };
        if self.host.is_empty() || host != self.host {
            return false;
        }
        match start_of(pid) {
            Some(Process::Gone) => true,
            Some(Process::Running(since)) => since != start,
            None => false,
        }
    }
}

enum Process {
    /// Started at this tick.
    Running(u64),
    /// Not there, or only its exit status is.
    Gone,
}

impl Process {
    const fn running(&self) -> Option<u64> {
        match self {
            Self::Running(start) => Some(*start),
            Self::Gone => None,
        }
    }
}

fn host() -> Option<String> {
    let line = |path: &str| fs::read_to_string(path).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let name = line("/proc/sys/kernel/hostname")?.replace('/', "_");
    let boot = line("/proc/sys/kernel/random/boot_id")?;
    // Containers of one machine share its boot and may share its name, but not their process numbers.
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let namespace: String = namespace.to_str()?.chars().filter(char::is_ascii_digit).collect();
    // Another user's processes may be hidden (`hidepid`), which must not look like death.
    let user = fs::metadata("/proc/self").ok()?.uid();
    Some(format!("{name}.{boot}.{namespace}.{user}"))
}

/// What the kernel says of a process; `None` where it cannot be told.
fn start_of(pid: u32) -> Option<Process> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && fs::metadata("/proc/self/stat").is_ok() => {
            return Some(Process::Gone);
        }
        Err(_) => return None,
    };
    // The second field is the program's name in parentheses, which may hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    if matches!(state, "Z" | "X") {
        // The first thread of a dying process may be gone while others still finish a system call.
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        return (threads <= 1).then_some(Process::Gone);
    }
    Some(Process::Running(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_dead_only_when_it_certainly_is() {
        let me = Owner::this_process();
        let (host, pid, start) = {
            let mut parts = me.as_str().rsplitn(3, '/');
            let (start, pid, host) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            (host.to_owned(), pid.to_owned(), start.parse::<u64>().unwrap())
        };
        assert!(!me.is_dead(me.as_str()), "{me:?}");
        assert!(me.is_dead(&format!("{host}/{pid}/{}", start + 1)), "the number was used again by a later process");
        for unclear in ["", "me", "a/b/c", "other.boot.1.0/1/1", &format!("{host}/x/1"), &format!("{host}/{pid}/?"), "?/1/?", "/1/1"] {
            assert!(!me.is_dead(unclear), "{unclear}");
        }
        let unknown = Owner { host: String::new(), text: "?/1/?".to_owned() };
        assert!(!unknown.is_dead(&format!("{host}/{pid}/{}", start + 1)));
    }

    #[test]
    fn a_child_is_alive_until_it_ends_even_before_it_is_waited_for() {
        let me = Owner::this_process();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let start = start_of(child.id()).and_then(|p| p.running()).unwrap();
        let name = format!("{}/{}/{start}", me.host, child.id());
        assert!(!me.is_dead(&name));
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !me.is_dead(&name) {
            assert!(std::time::Instant::now() < deadline, "a killed child that nobody waited for still counts as alive");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(me.is_dead(&name));
    }
}
