//! Who does something that is kept with a name.

/// The name that was given, else the one this machine knows the user by.
pub(super) fn who(by: Option<String>) -> String {
    let known = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|n| !n.trim().is_empty()));
    by.or(known).unwrap_or_else(|| "someone at the command line".to_owned())
}
