//! Help: every command has one, with an example that parses.

use crate::support::run;

/// The names below "Commands:" of a help text.
fn commands(help: &str) -> Vec<String> {
    let below = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    // A continued line is indented deeper.
    below
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|n| *n != "help")
        .map(str::to_owned)
        .collect()
}

fn walk(path: &[String], seen: &mut Vec<(Vec<String>, String)>) {
    let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
    args.push("--help");
    let help = run(&args).ok().stdout;
    let below = commands(&help);
    for name in &below {
        walk(&[path, std::slice::from_ref(name)].concat(), seen);
    }
    if below.is_empty() {
        seen.push((path.to_vec(), help));
    }
}

#[test]
fn every_command_tells_an_example_of_itself() {
    let mut leaves = Vec::new();
    walk(&[], &mut leaves);
    let names: Vec<String> = leaves.iter().map(|(p, _)| p.join(" ")).collect();
    for expected in ["demo", "serve", "work", "sandbox", "migrate", "check", "import", "ehr add", "ehr list", "ehr check", "ehr remove"] {
        assert!(names.iter().any(|n| n == expected), "{expected} is not in {names:?}");
    }
    for expected in
        ["sync run", "sync status", "sync quarantine list", "segments list", "segments show", "segments explain", "outreach run"]
    {
        assert!(names.iter().any(|n| n == expected), "{expected} is not in {names:?}");
    }
    for expected in ["outreach list", "outreach opt-out", "outreach opt-in", "writeback list", "keys jwks"] {
        assert!(names.iter().any(|n| n == expected), "{expected} is not in {names:?}");
    }
    for (path, help) in &leaves {
        let name = path.join(" ");
        assert!(help.contains("Examples:"), "{name} has no examples:\n{help}");
        // `opt-in` shares its text with `opt-out`, which shows both.
        assert!(help.contains(&format!("fhir-engage {name}")), "{name} shows no example of itself:\n{help}");
        assert!(help.contains("--data") && help.contains("--config") && help.contains("--json"), "{name}");
    }
}

#[test]
fn every_example_is_one_that_the_program_takes() {
    let mut leaves = Vec::new();
    walk(&[], &mut leaves);
    let mut tried = 0;
    for (_, help) in &leaves {
        for line in help.lines().filter_map(|l| l.trim().strip_prefix("fhir-engage ")) {
            // What stands two spaces away is an explanation; what follows a redirection is the shell's.
            let command = line.split("  ").next().unwrap().split(" > ").next().unwrap();
            let mut args: Vec<&str> = command.split_whitespace().collect();
            // Help is told before anything is run, and only where the words before it parse.
            args.push("--help");
            let ended = run(&args);
            assert_eq!(ended.code, Some(0), "{command}: {}", ended.stderr);
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}
