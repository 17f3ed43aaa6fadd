//! Parses the arguments, runs the command, and maps its end to an exit code.

fn main() -> std::process::ExitCode {
    fhir_engage::cli::main()
}
